"""The `buildmesh` command: one verb per file, each with `configure(parser)` and `run(arguments) -> exit status`."""

__all__: list[str] = []
