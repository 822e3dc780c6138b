"""The executor's hands: snapshots on disk, containers, networks, files, layers, sources, sessions and the bus."""

__all__: list[str] = []
