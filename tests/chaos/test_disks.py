"""What holds bytes fails: the blob store is away for a minute, has damaged files, and an executor's disk is full. In `make chaos` only."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.chaos.conftest import IN_MAKE_CHAOS, Fleet, Outcome
from tests.kit import load

pytestmark = [pytest.mark.root, pytest.mark.slow, IN_MAKE_CHAOS]

UnderLoad = Callable[..., Outcome]

MANY = 100


def test_the_blob_store_is_away_for_a_minute(fleet: Fleet, under_load: UnderLoad, busybox: str) -> None:
    """Steps go on, what has to be stored waits."""
    fleet.happened.clear()

    def chaos() -> None:
        time.sleep(3)
        fleet.restart_blobs(away=60)

    outcome = under_load(load.orders(busybox, MANY, 10, "blobs"), chaos)

    print(outcome.report("MinIO away for 60 s", fleet.happened))
    outcome.check()


def test_a_disk_is_full(fleet: Fleet, under_load: UnderLoad, busybox: str) -> None:
    """Of one executor of three: what it can't do the others do."""
    fleet.happened.clear()
    disk = fleet.stack.folder / "executor-2/state"

    with small_disk(fleet, "executor-2", disk):

        def chaos() -> None:
            time.sleep(3)
            fleet.tell("the disk of executor-2 is full")
            with suppress(OSError), (disk / "filler").open("wb") as filler:
                while True:
                    filler.write(b"x" * (1 << 20))
            time.sleep(15)
            (disk / "filler").unlink()
            fleet.tell("it is not any more")

        outcome = under_load(load.orders(busybox, MANY, 11, "full"), chaos)

    print(outcome.report("full disk", fleet.happened))
    outcome.check()


@contextmanager
def small_disk(fleet: Fleet, name: str, folder: Path) -> Iterator[None]:
    """The executor has its state on 96 MB of its own inside."""
    fleet.stack.stop(name)
    kept = folder.with_name("kept")
    folder.rename(kept)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "chaos", folder], check=True, timeout=10)
    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("executor"))
        fleet.stack.start(name)
        fleet.stack.ready(name, 40)
        yield
    finally:
        fleet.stack.stop(name)
        subprocess.run(["umount", folder], check=True, timeout=10)
        folder.rmdir()
        kept.rename(folder)
        fleet.stack.start(name)
        fleet.stack.ready(name, 40)


def test_files_of_the_blob_store_are_damaged(fleet: Fleet, under_load: UnderLoad, busybox: str) -> None:
    """All that it has at one moment, half-way through; results that only it still has are computed again."""
    fleet.happened.clear()

    def chaos() -> None:
        time.sleep(5)
        damaged = damage(fleet.s3.data)
        fleet.tell(f"{damaged} files of MinIO are damaged")
        fleet.kill("executor-0")
        time.sleep(3)

    outcome = under_load(load.orders(busybox, MANY, 12, "bits"), chaos)

    print(outcome.report("flipped bits", fleet.happened))
    outcome.check()


def damage(folder: Path) -> int:
    """Flip a byte near the end of every file that holds an object's bytes; MinIO's own settings stay whole."""
    count = 0
    for path in folder.rglob("*"):
        if path.name in ("part.1", "xl.meta") and ".minio.sys" not in path.parts:
            data = bytearray(path.read_bytes())
            data[-20] ^= 0xFF
            path.write_bytes(data)
            count += 1
    return count
