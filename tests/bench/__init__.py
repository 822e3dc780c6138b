"""Measures our drop-in daemon against a real buildkitd: same machine, same buildctl, same run, in pairs.

`side` starts a daemon and drives buildctl, `disk` gives it a fresh file system, `memory` watches its process tree,
`contexts` makes what is built, `scenarios` says what is measured, `report` prints it. `python -m tests.bench --help`; a measurement is
never a verdict.
"""

__all__: list[str] = []
