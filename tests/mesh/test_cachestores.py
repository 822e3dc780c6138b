"""Several cachestores: one answers, all others stand by; what was saved is found, whoever is asked and whoever answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.cachestore.adapters import leadership
from services.cachestore.config import CachestoreConfig
from services.cachestore.service import run
from services.solver.adapters.cache_index import CachestoreIndex
from services.solver.core.cache_key import CacheKey, KeyLink, root_key
from services.solver.core.questions import FetchRecords, LinksFound, QueryLinks, RecordsFound
from services.solver.ports import ClaimWish
from shared.blobs.memory import MemoryBlobs
from shared.bus.calls import Calls
from shared.bus.holds import Life
from shared.bus.memory import MemoryBus
from shared.model import Ref
from shared.run import Mesh, Readiness
from shared.telemetry import Log, Metrics, Tracer
from shared.wire import subjects

VERTEX = "sha256:" + "a" * 64
STORES = ("c1", "c2")


@dataclass(eq=False)
class World:
    """Cachestores by name on one bus; each has calls and a folder of its own, as a process would."""

    bus: MemoryBus
    folder: Path
    tasks: asyncio.TaskGroup
    index: CachestoreIndex
    running: dict[str, tuple[asyncio.Task[None], Mesh]] = field(default_factory=dict)

    async def start(self, name: str) -> None:
        up = asyncio.Event()
        self.running[name] = (self.tasks.create_task(self._process(name, up)), await self._mesh_of(name, up))

    async def _mesh_of(self, name: str, up: asyncio.Event) -> Mesh:
        await up.wait()
        return self._meshes[name]

    _meshes: dict[str, Mesh] = field(default_factory=dict)

    async def _process(self, name: str, up: asyncio.Event) -> None:
        async with Calls(self.bus) as calls:
            mesh = self._meshes[name] = Mesh(
                instance=name,
                bus=self.bus,
                calls=calls,
                blobs=MemoryBlobs(),
                claims=MemoryBlobs(),
                sessions=None,  # type: ignore[arg-type]
                log=Log(),
                tracer=Tracer("cachestore", ()),
                metrics=Metrics(),
                readiness=Readiness(),
                state=self.folder / name,
                alone=False,
            )
            mesh.readiness.expect("cachestore")
            up.set()
            await run(CachestoreConfig(gc=False), mesh)

    async def ready(self, name: str) -> None:
        readiness = self.running[name][1].readiness
        while not readiness.ready:
            await readiness.changed.wait()
            readiness.changed.clear()

    async def stop(self, name: str) -> None:
        """SIGTERM."""
        task, mesh = self.running.pop(name)
        mesh.readiness.draining.set()
        await mesh.calls.drain()
        await task

    async def kill(self, name: str) -> None:
        """It is gone without a word; what it wrote stays."""
        task, _ = self.running.pop(name)
        task.cancel()
        await asyncio.wait([task])

    async def leader(self) -> str:
        entry = await (await self.bus.bucket(subjects.KV_LEADERS, ttl=leadership.LIFE.ttl)).get(leadership.KEY)
        return entry.value.decode().partition(" ")[0] if entry is not None else ""

    async def save(self, op: str, name: str) -> None:
        """A result of `op` on `base`."""
        links = ((KeyLink(root_key("base", 0)),),)
        await self.index.save(VERTEX, [CacheKey(id="", digest=op, output=0, inputs=links)], Ref(id=name, layers=()))

    async def found(self, op: str) -> set[str]:
        """Ids of the results of `op` on `base`."""
        question = QueryLinks(links=((root_key("base", 0).id, ""),), input=0, digest=op, output=0)
        links = await self.index.ask(question)
        assert isinstance(links, LinksFound)
        refs: set[str] = set()
        for key in links.key_ids:
            records = await self.index.ask(FetchRecords(key_id=key))
            assert isinstance(records, RecordsFound)
            refs |= {record.id for record in records.records}
        return refs


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    bus = MemoryBus()
    async with asyncio.timeout(60), Calls(bus) as calls, asyncio.TaskGroup() as tasks:
        made = World(bus=bus, folder=folder, tasks=tasks, index=CachestoreIndex(calls, Log(), lambda: 1))
        yield made
        for name in list(made.running):
            await made.kill(name)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "LIFE", Life(ttl=0.4, renew=0.05, look=0.02, margin=0.1))


async def test_what_one_stored_the_next_knows(tmp_path: Path) -> None:
    """The leader is stopped; the one that stood by answers at once, on another disk."""
    async with world(tmp_path) as mesh:
        for name in STORES:
            await mesh.start(name)
        for name in STORES:
            await mesh.ready(name)
        first = await mesh.leader()
        await mesh.save("op", "r1")
        await mesh.stop(first)
        assert await mesh.found("op") == {"r1"}
        assert await mesh.leader() not in ("", first)


async def test_a_leader_that_dies_is_replaced(tmp_path: Path) -> None:
    """Whoever asks meanwhile waits."""
    async with world(tmp_path) as mesh:
        await mesh.start("c1")
        await mesh.ready("c1")
        await mesh.save("op", "r1")
        assert await mesh.found("op") == {"r1"}
        await mesh.start("c2")
        await mesh.ready("c2")
        assert await mesh.leader() == "c1"
        await mesh.kill("c1")
        assert await mesh.found("op") == {"r1"}
        assert await mesh.leader() == "c2"


async def test_a_lead_that_was_taken_is_noticed(tmp_path: Path) -> None:
    """A process that slept past its time stops answering, and stands by from then on."""
    async with world(tmp_path) as mesh:
        await mesh.start("c1")
        await mesh.ready("c1")
        bucket = await mesh.bus.bucket(subjects.KV_LEADERS, ttl=leadership.LIFE.ttl)
        await bucket.put(leadership.KEY, b"other")
        async with asyncio.timeout(5):
            while mesh.running["c1"][1].calls.statistics()["served"] or await mesh.leader() != "c1":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await mesh.save("op", "r1")
        assert await mesh.found("op") == {"r1"}


async def test_one_of_many_claims_gets_the_run(tmp_path: Path) -> None:
    """Two cachestores, a hundred askers: one winner."""
    async with world(tmp_path) as mesh:
        for name in STORES:
            await mesh.start(name)
        key = [CacheKey(id="", digest="op", output=0, inputs=((KeyLink(root_key("base", 0)),),))]
        async with asyncio.TaskGroup() as tasks:
            wish = ClaimWish(solver="s", run="")
            asked = [tasks.create_task(mesh.index.claim(key, replace(wish, run=f"run-{i}"))) for i in range(100)]
        winners = {answer.run for task in asked if (answer := task.result()) is not None}
        assert len(winners) == 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("save"), st.sampled_from("xy"), st.integers(0, 3)),
        st.tuples(st.just("drop"), st.integers(0, 3)),
        st.tuples(st.just("look"), st.sampled_from("xy")),
        st.tuples(st.just("change"), st.booleans()),
    ),
    max_size=14,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_index_is_one_set_whoever_leads(steps: list[tuple[object, ...]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Against a dict of sets: every answer is what was saved and not dropped, across changes of the leader."""

    async def play() -> None:
        async with world(tmp_path_factory.mktemp("index")) as mesh:
            for name in STORES:
                await mesh.start(name)
            model: dict[str, set[str]] = {"x": set(), "y": set()}
            for step in steps:
                await _step(mesh, model, step)
            for op, refs in model.items():
                assert await mesh.found(op) == refs

    asyncio.run(play())


async def _step(mesh: World, model: dict[str, set[str]], step: tuple[object, ...]) -> None:
    match step:
        case ("save", str(op), int(number)):
            await mesh.save(op, f"{op}{number}")
            model[op].add(f"{op}{number}")
        case ("drop", int(number)):
            await mesh.index.drop([f"x{number}", f"y{number}"])
            for op, refs in model.items():
                refs.discard(f"{op}{number}")
        case ("look", str(op)):
            assert await mesh.found(op) == model[op]
        case ("change", _):
            for name in STORES:
                await mesh.ready(name)
            first = await mesh.leader()
            if first in mesh.running:
                await mesh.stop(first)
                await mesh.start(first)
