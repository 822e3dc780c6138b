"""Results go to the blob store in the background: each once, bounded, told in batches, and never a reason to fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.executor.adapters import publishing
from services.executor.adapters.publishing import Neighbours, Publisher
from services.executor.ports import Reporter
from shared.bus.calls import Calls, Served
from shared.bus.memory import MemoryBus
from shared.errors import RefLost
from shared.model import Digest, Layer, Ref
from shared.telemetry import Log
from shared.wire import subjects
from shared.wire.messages import Done, Pack, RefsPublished, Scope

DIGEST = Digest("sha256:" + "1" * 64)
LAYER = Layer(digest=DIGEST, diff_id=DIGEST, size=1, media_type="application/x", transport=True)
SCOPE = Scope(lease="l")


def ref(id: str, home: str = "e1") -> Ref:
    return Ref(id=id, home=home, size=5)


class Packer:
    """Packs nothing; `go_on` lets it end, ids in `lost` are gone."""

    def __init__(self) -> None:
        self.packed: list[str] = []
        self.lost: set[str] = set()
        self.broken: set[str] = set()
        self.go_on = asyncio.Event()
        self.at_once = 0

    async def pack(self, id: str, request: Pack, report: Reporter) -> tuple[Layer, ...]:
        assert request.transport
        self.packed.append(id)
        self.at_once += 1
        await self.go_on.wait()
        self.at_once -= 1
        if id in self.lost:
            raise RefLost(id)
        if id in self.broken:
            raise ZeroDivisionError
        return (LAYER,)


class World:
    """A publisher, and the cachestore it tells."""

    def __init__(self, calls: Calls, packer: Packer, wanted: Any) -> None:
        self.packer, self.told = packer, list[RefsPublished]()
        self.publisher = Publisher(home="e1", packs=packer, calls=calls, wanted=wanted, log=Log())
        self.heard = asyncio.Event()
        self.bus = MemoryBus()

    def publish(self, order: RefsPublished, served: Served) -> Done:
        self.told.append(order)
        self.heard.set()
        return Done()


@asynccontextmanager
async def world(wanted: Any = True) -> AsyncIterator[World]:
    bus = MemoryBus()
    async with asyncio.timeout(10), Calls(bus) as calls, asyncio.TaskGroup() as tasks:
        made = World(calls, Packer(), wanted)
        made.bus = bus
        running = [
            tasks.create_task(calls.serve(subjects.LAYERS, {RefsPublished: made.publish})),
            tasks.create_task(made.publisher.run()),
        ]
        yield made
        for task in running:
            task.cancel()


async def test_what_is_offered_is_packed_and_told() -> None:
    """Results of others, scratch and what has layers already are not ours to publish."""
    async with world() as mesh:
        mesh.packer.go_on.set()
        mesh.publisher.offer([ref("a"), None, ref("b", home="e2"), Ref(id="c", home="e1", layers=(LAYER,))], SCOPE)
        await mesh.heard.wait()
        assert mesh.packer.packed == ["a"]
        assert [r for order in mesh.told for r in order.refs] == [Ref(id="a", home="e1", layers=(LAYER,), size=5)]


async def test_few_at_once_and_each_once() -> None:
    """A flood of results keeps two threads busy, not all; the newest come first."""
    async with world() as mesh:
        mesh.publisher.offer([ref("first"), ref("second")], SCOPE)
        await asyncio.sleep(0)
        for _ in range(3):
            mesh.publisher.offer([ref(f"r{i}") for i in range(10)], SCOPE)
        for _ in range(5):
            await asyncio.sleep(0)
        assert mesh.packer.at_once == publishing.WORKERS
        mesh.packer.go_on.set()
        while len([r for order in mesh.told for r in order.refs]) < 12:
            mesh.heard.clear()
            await mesh.heard.wait()
        assert sorted(mesh.packer.packed) == sorted(["first", "second", *(f"r{i}" for i in range(10))])


async def test_what_is_gone_is_passed_over() -> None:
    """Pruned before its turn: the next ones are published all the same."""
    async with world() as mesh:
        mesh.packer.lost.add("a")
        mesh.packer.go_on.set()
        mesh.publisher.offer([ref("a"), ref("b")], SCOPE)
        await mesh.heard.wait()
        assert [r.id for order in mesh.told for r in order.refs] == ["b"]


async def test_a_lone_executor_publishes_nothing() -> None:
    """Until another one appears."""
    neighbours = Neighbours("e1")
    async with world(neighbours) as mesh, asyncio.TaskGroup() as tasks:
        following = tasks.create_task(neighbours.follow(mesh.bus, 5.0))
        mesh.packer.go_on.set()
        for id in (b"e1", b"\xff no id"):
            for _ in range(10):
                await mesh.bus.publish(subjects.NEIGHBOURS, id)
                await asyncio.sleep(0)
        mesh.publisher.offer([ref("a")], SCOPE)
        assert mesh.publisher.statistics() == {"unpublished": 0}
        while not neighbours:
            await mesh.bus.publish(subjects.NEIGHBOURS, b"e2")
            await asyncio.sleep(0)
        mesh.publisher.offer([ref("b")], SCOPE)
        await mesh.heard.wait()
        assert mesh.packer.packed == ["b"]
        following.cancel()


async def test_the_oldest_of_too_many_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are published when somebody asks."""
    monkeypatch.setattr(publishing, "WAITING", 3)
    publisher = Publisher(home="e1", packs=Packer(), calls=None, wanted=True, log=Log())  # type: ignore[arg-type]
    publisher.offer([ref(f"r{i}") for i in range(10)], SCOPE)
    assert publisher.statistics() == {"unpublished": 3}


async def test_a_process_that_stops_publishes_what_waits() -> None:
    """And tells of it before it ends."""
    async with Calls(MemoryBus()) as calls, asyncio.TaskGroup() as tasks:
        made = World(calls, Packer(), True)
        made.packer.go_on.set()
        serving = tasks.create_task(calls.serve(subjects.LAYERS, {RefsPublished: made.publish}))
        made.publisher.offer([ref("a"), ref("b")], SCOPE)
        async with asyncio.timeout(10):
            await made.publisher.finish()
        assert {r.id for order in made.told for r in order.refs} == {"a", "b"}
        serving.cancel()


async def test_steps_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all slots taken a result waits a little, not for ever; an error that nobody foresaw ends nothing."""
    monkeypatch.setattr(publishing, "YIELD", 0.05)
    async with world() as mesh:
        mesh.publisher._busy = lambda: True
        mesh.packer.go_on.set()
        mesh.packer.broken.add("a")
        mesh.publisher.offer([ref("a")], SCOPE)
        for _ in range(5):
            await asyncio.sleep(0)
        assert mesh.packer.packed == []
        mesh.publisher.offer([ref("b")], SCOPE)
        await mesh.heard.wait()
        assert [r.id for order in mesh.told for r in order.refs] == ["b"]
