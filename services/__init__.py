"""The six services. They never import each other; they meet on the bus (docs/bus.md)."""

__all__: list[str] = []
