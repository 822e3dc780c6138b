"""What tests share: real servers (`parts`), base images (`images`), and the six processes as one stack (`stack`).

Nothing here starts at import; each thing is a context manager that cleans up after itself, by process id.
"""

__all__: list[str] = []
