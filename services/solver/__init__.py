"""The solver: LLB → decisions. What must run, what is cached, in which order; equal work of all builds is done once.

Rooms: `core/` is the edge machine (pure), `ports.py` what it asks of the world, `adapters/` how that is reached over the
bus, `service.py` wires them. To the mesh it is `SolveBuild` on the `work.builds` queue, the bridge calls on
`build.<ref>.bridge` and the log `build.<ref>.events`. It never touches the content of a file.
"""

__all__: list[str] = []
