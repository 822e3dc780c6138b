"""The other end: our own client library and the `buildmesh` command, on the daemon's public API only."""

__all__: list[str] = []
