"""The door: the public gRPC address, live client sessions, build history.

Serves moby.buildkit.v1.Control, LLBBridge, TraceService, read-only Content, health and reflection. Puts builds on
`work.builds`, calls `build.<ref>.bridge`, follows `build.<ref>.events`, announces sessions in the bucket `sessions`.
Never solves, never touches snapshots.
"""

__all__: list[str] = []
