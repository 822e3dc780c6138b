"""A client's session: the daemon's side of the inner HTTP/2 connection, and the typed calls on it (reference: BuildKit session/).

`ports.py` is what other services use; it hides whether the session is in this process or relayed by another gateway.
"""

__all__: list[str] = []
