"""A full disk: work goes to the others while there are any, and comes back when there is room."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.executor.adapters import full_disk
from services.executor.adapters.full_disk import FullDisk, room_of
from shared.errors import BuildFailed, CallLost
from shared.telemetry import Log

SIZE = 100 << 30


class Machine:
    """An executor with two slots, on a disk whose room a test sets."""

    def __init__(self) -> None:
        self.free, self.others = SIZE, True
        self.slots = asyncio.Semaphore(2)
        self.disk = FullDisk(Path("/"), self.slots, 2, others=lambda: self.others, log=Log(), room=lambda _: (self.free, SIZE))


@asynccontextmanager
async def watched(machine: Machine) -> AsyncIterator[None]:
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(machine.disk.watch())
        yield
        watching.cancel()


async def until(machine: Machine, *, locked: bool) -> None:
    while machine.slots.locked() is not locked:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def test_it_takes_no_work_until_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_disk, "LOOK", 0.002)
    machine = Machine()
    await machine.slots.acquire()  # a step that still runs keeps its slot
    async with watched(machine):
        await asyncio.sleep(0.02)
        assert not machine.slots.locked()
        machine.free = 1 << 20
        await until(machine, locked=True)
        machine.slots.release()
        await asyncio.sleep(0.02)
        assert machine.slots.locked()
        machine.free = SIZE
        await until(machine, locked=False)
        await machine.slots.acquire()
        await machine.slots.acquire()


async def _fail(request: Any, served: Any) -> None:
    raise BuildFailed("exit code: 1")


async def test_what_fails_for_want_of_room_is_asked_of_others() -> None:
    machine = Machine()
    handler = machine.disk.leaving(_fail)
    with pytest.raises(BuildFailed):
        await handler(None, None)  # type: ignore[arg-type]
    machine.free = 0
    with pytest.raises(CallLost, match="the disk of this executor is full: exit code: 1"):
        await handler(None, None)  # type: ignore[arg-type]


async def test_who_is_alone_fails_as_ever() -> None:
    machine = Machine()
    machine.free, machine.others = 0, False
    with pytest.raises(BuildFailed):
        await machine.disk.leaving(_fail)(None, None)  # type: ignore[arg-type]


def test_the_room_is_that_of_the_file_system(tmp_path: Path) -> None:
    free, size = room_of(tmp_path)
    assert 0 < free <= size
