"""A folder of its own for each process where several are given the same one (replicas of a container on one volume)."""

import dataclasses
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shared.errors import Exhausted
from shared.run.backends import MeshConfig

PLACES: Final = 1000
LOCK: Final = "held"


@contextmanager
def own_state(config: MeshConfig) -> Iterator[MeshConfig]:
    """With `share_state`: the configuration with `state` replaced by the first numbered folder in it that no living process holds.

    So a replica that comes back finds the snapshots of one that went, and ids are never shared. The kernel ends a hold with its process.
    Raises Exhausted after a thousand.
    """
    if not config.share_state:
        yield config
        return
    for number in range(PLACES):
        place = config.state / str(number)
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = _held(place)
        if held is not None:
            try:
                yield dataclasses.replace(config, state=place)
            finally:
                os.close(held)
            return
    raise Exhausted(f"all {PLACES} places in {config.state} are held")


def _held(place: Path) -> int | None:
    descriptor = os.open(place / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
