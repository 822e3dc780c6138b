"""Which OCI runtimes will do: runc and crun from the versions that know `run --keep`, which the executor's sweeping stands on."""

import re
from typing import Final

__all__ = ["LEAST", "runtime_fault"]

LEAST: Final = {"runc": (1, 1, 0), "crun": (1, 15)}
"""The first versions with `run --keep` (runc's CHANGELOG 1.1.0, crun's NEWS 1.15)."""

_VERSION = re.compile(r"^(\S+) version v?(\d+(?:\.\d+)*)", re.MULTILINE)


def runtime_fault(said: str) -> str:
    """What is wrong with a runtime that says this of its version, found and wanted; empty when it will do.

    `said` is the output of `RUNTIME --version`. A runtime by another name is taken as it is: whoever named it knows it.
    """
    found = _VERSION.search(said)
    if found is None or found[1] not in LEAST:
        return ""
    name, version = found[1], tuple(int(part) for part in found[2].split("."))
    least = LEAST[name]
    if version >= least[: len(version)]:
        return ""
    return f"{name} {found[2]} is too old: {name} {'.'.join(map(str, least))} or newer is wanted"
