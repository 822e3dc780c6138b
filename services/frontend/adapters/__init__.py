"""The frontend's ways to the rest: the build's bridge on the bus, and the loop that drives the pure core."""

__all__: list[str] = []
