"""Whole builds: real clients, real containers, real registry, for each way to start Buildmesh.

`BUILDMESH_E2E=buildkitd` runs the same tests against the real buildkitd, which is how the tests themselves are judged.
"""

__all__: list[str] = []
