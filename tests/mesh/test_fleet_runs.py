"""Several solvers want the same vertex: it runs once, and lasts as long as anybody wants it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from services.cachestore.adapters.claims import Claims
from services.cachestore.adapters.questions import Questions
from services.cachestore.core.key_graph import KeyGraph
from services.cachestore.core.run_claims import RunClaims
from services.solver.adapters import cache_index
from services.solver.adapters.cache_index import CachestoreIndex
from services.solver.adapters.fleet_runs import FleetRuns
from services.solver.core.cache_key import CacheKey, KeyLink, root_key
from services.solver.core.questions import FetchRecords, LinksFound, QueryLinks, RecordsFound
from services.solver.core.vertex import Vertex, VertexOptions
from services.solver.ports import ClaimWish, Heard, Outputs
from shared.bus.calls import Calls
from shared.bus.memory import MemoryBus
from shared.errors import BuildFailed, Unavailable
from shared.model import Digest, LogChunk, Ref, Status
from shared.telemetry import Log, Metrics, names
from shared.wire import subjects
from shared.wire.messages import CacheQuery, CacheRecordsOf, CacheSave, ClaimRun, ReleaseRuns

RESULT, OTHER = Ref(id="result", home="e1"), Ref(id="other", home="e1")


def vertex(letter: str = "a", *, fresh: bool = False) -> Vertex:
    return Vertex("sha256:" + letter * 64, letter, options=VertexOptions(ignore_cache=fresh))


def keys(op: str = "op", *inputs: str) -> list[CacheKey]:
    links = tuple((KeyLink(root_key(name, 0)),) for name in inputs or ("base",))
    return [CacheKey(id="", digest=op, output=0, inputs=links)]


@dataclass(eq=False)
class Work:
    """A step that waits until it is let go, and counts."""

    end: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    runs: int = 0
    canceled: int = 0
    error: Exception | None = None

    async def __call__(self, heard: Heard) -> Outputs:
        self.runs += 1
        heard([Status(vertex=Digest(vertex().digest), id="pull")], [chunk("one")])
        self.begun.set()
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.canceled += 1
            raise
        heard([], [chunk("two")])
        if self.error is not None:
            raise self.error
        return (RESULT,)


def chunk(text: str) -> LogChunk:
    return LogChunk(vertex=Digest(vertex().digest), stream=1, data=text.encode())


@dataclass(eq=False)
class Ears:
    """What a build hears."""

    said: list[str] = field(default_factory=list)
    of: set[str] = field(default_factory=set)

    def __call__(self, statuses: Sequence[Status], logs: Sequence[LogChunk]) -> None:
        self.said += [entry.data.decode() for entry in logs]
        self.of |= {item.vertex for item in (*statuses, *logs)}


@dataclass(eq=False)
class World:
    """A cachestore, and solvers by name; `serving[name]` ends one."""

    calls: Calls
    index: CachestoreIndex
    claims: RunClaims
    tasks: asyncio.TaskGroup
    serving: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def solver(self, name: str) -> FleetRuns:
        runs = FleetRuns(home=name, calls=self.calls, claims=self.index, tasks=self.tasks, log=Log())
        up = asyncio.Event()
        self.serving[name] = self.tasks.create_task(runs.serve(up.set))
        await up.wait()
        return runs


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    graph, runs = KeyGraph(), RunClaims()
    questions = Questions(graph, usable=lambda ref: True, changed=lambda: None, counter=Metrics().counter(names.CACHE_QUESTIONS))
    claims = Claims(graph, questions, runs, usable=lambda ref: True)
    handlers = {
        ClaimRun: claims.claim,
        ReleaseRuns: claims.release,
        CacheSave: questions.save,
        CacheQuery: questions.query,
        CacheRecordsOf: questions.records,
    }
    async with asyncio.timeout(20), Calls(MemoryBus()) as calls, asyncio.TaskGroup() as tasks:
        up = asyncio.Event()
        store = tasks.create_task(calls.serve(subjects.CACHE, handlers, queue="cachestore", ready=up.set))
        await up.wait()
        made = World(calls=calls, index=CachestoreIndex(calls, Log(), lambda: 1), claims=runs, tasks=tasks)
        yield made
        for task in (store, *made.serving.values()):
            task.cancel()


async def test_it_runs_once_and_all_hear_it() -> None:
    """Also those who come late, under the digest that the vertex has with them."""
    async with world() as mesh:
        one, two = await mesh.solver("s1"), await mesh.solver("s2")
        work, late, ears = Work(), Work(), Ears()
        first = mesh.tasks.create_task(one.run(vertex("a"), keys(), work, Ears()))
        await work.begun.wait()
        second = mesh.tasks.create_task(two.run(vertex("b"), keys(), late, ears))
        while "one" not in ears.said:  # noqa: ASYNC110 (progress comes in batches)
            await asyncio.sleep(0.01)
        work.end.set()

        assert await first == await second == (RESULT,)
        assert (work.runs, late.runs) == (1, 0)
        assert ears.said == ["one", "two"]
        assert ears.of == {vertex("b").digest}


async def test_who_began_it_may_leave() -> None:
    """The step goes on for the other one; only when he leaves as well it ends."""
    async with world() as mesh:
        one, two = await mesh.solver("s1"), await mesh.solver("s2")
        work, ears = Work(), Ears()
        first = mesh.tasks.create_task(one.run(vertex(), keys(), work, Ears()))
        await work.begun.wait()
        second = mesh.tasks.create_task(two.run(vertex(), keys(), Work(), ears))
        while not ears.said:  # noqa: ASYNC110 (progress comes in batches)
            await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0)
        work.end.set()
        assert await second == (RESULT,)
        assert (work.runs, work.canceled) == (1, 0)


async def test_when_all_leave_it_is_cancelled() -> None:
    """And the claim does not outlive it."""
    async with world() as mesh:
        one = await mesh.solver("s1")
        work = Work()
        first = mesh.tasks.create_task(one.run(vertex(), keys(), work, Ears()))
        await work.begun.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        again = Work()
        again.end.set()
        assert await (await mesh.solver("s2")).run(vertex(), keys(), again, Ears()) == (RESULT,)
        assert (work.canceled, again.runs) == (1, 1)


async def test_a_failed_step_fails_for_all() -> None:
    """With its own error and all of its output."""
    async with world() as mesh:
        one, two = await mesh.solver("s1"), await mesh.solver("s2")
        work, late, ears = Work(error=BuildFailed("exit code: 3")), Work(), Ears()
        first = mesh.tasks.create_task(swallow(one.run(vertex(), keys(), work, Ears())))
        await work.begun.wait()
        second = mesh.tasks.create_task(swallow(two.run(vertex(), keys(), late, ears)))
        while not ears.said:  # noqa: ASYNC110 (progress comes in batches)
            await asyncio.sleep(0.01)
        work.end.set()
        assert "exit code: 3" in str(await first)
        assert "exit code: 3" in str(await second)
        assert (late.runs, ears.said) == (0, ["one", "two"])


async def swallow(run: object) -> Exception | None:
    try:
        await run  # type: ignore[misc]
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("error", [Unavailable("the session is away")])
async def test_what_befell_the_other_need_not_befall_us(error: Exception) -> None:
    """A lost connection there is no failure here: it runs again."""
    async with world() as mesh:
        one, two = await mesh.solver("s1"), await mesh.solver("s2")
        work, mine, ears = Work(error=error), Work(), Ears()
        first = mesh.tasks.create_task(swallow(one.run(vertex(), keys(), work, Ears())))
        await work.begun.wait()
        second = mesh.tasks.create_task(two.run(vertex(), keys(), mine, ears))
        while not ears.said:  # noqa: ASYNC110 (progress comes in batches)
            await asyncio.sleep(0.01)
        mine.end.set()
        work.end.set()
        assert await second == (RESULT,)
        assert await first is error
        assert mine.runs == 1


async def test_a_dead_solver_is_taken_over() -> None:
    """Nobody listens there any more: who finds out runs it, and the next one joins him."""
    async with world() as mesh:
        one, two, three = await mesh.solver("s1"), await mesh.solver("s2"), await mesh.solver("s3")
        lost, work = Work(), Work()
        first = mesh.tasks.create_task(swallow(one.run(vertex(), keys(), lost, Ears())))
        await lost.begun.wait()
        mesh.serving["s1"].cancel()
        second = mesh.tasks.create_task(two.run(vertex(), keys(), work, Ears()))
        await work.begun.wait()
        third = mesh.tasks.create_task(three.run(vertex(), keys(), Work(), Ears()))
        work.end.set()
        lost.end.set()
        assert await second == await third == (RESULT,)
        assert work.runs == 1
        await first


async def test_what_was_stored_meanwhile_is_not_run() -> None:
    """Between a solver's question and its turn another one was quicker."""
    async with world() as mesh:
        await mesh.index.save("sha256:" + "a" * 64, keys(), RESULT)
        work = Work()
        assert await (await mesh.solver("s1")).run(vertex(), keys(), work, Ears()) == (RESULT,)
        assert work.runs == 0


async def test_a_stored_result_that_is_lost_is_made_again() -> None:
    """The index may still speak of what this solver found to be gone."""
    async with world() as mesh:
        await mesh.index.save("sha256:" + "a" * 64, keys(), RESULT)
        one = await mesh.solver("s1")
        one.lost([RESULT.id])
        work = Work()
        work.end.set()
        await one.run(vertex(), keys(), work, Ears())
        assert work.runs == 1


async def test_without_cache_nothing_stored_is_used() -> None:
    """But runs under way at the same time are one, as in one buildkitd."""
    async with world() as mesh:
        await mesh.index.save("sha256:" + "a" * 64, keys(), RESULT)
        one, two = await mesh.solver("s1"), await mesh.solver("s2")
        work, ears = Work(), Ears()
        first = mesh.tasks.create_task(one.run(vertex(fresh=True), keys(), work, Ears()))
        await work.begun.wait()
        second = mesh.tasks.create_task(two.run(vertex(fresh=True), keys(), Work(), ears))
        while not ears.said:  # noqa: ASYNC110 (progress comes in batches)
            await asyncio.sleep(0.01)
        work.end.set()
        assert await first == await second == (RESULT,)
        assert work.runs == 1


async def test_other_inputs_are_other_work() -> None:
    """The same op on another tree."""
    async with world() as mesh:
        one, two = await mesh.solver("s1"), await mesh.solver("s2")
        works = [Work(), Work()]
        for work in works:
            work.end.set()
        await one.run(vertex(), keys("op", "x"), works[0], Ears())
        await two.run(vertex(), keys("op", "y"), works[1], Ears())
        assert [work.runs for work in works] == [1, 1]


async def test_without_a_cachestore_it_just_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sharing is a saving, never a condition."""
    monkeypatch.setattr(cache_index, "WITHIN", 0.05)
    async with Calls(MemoryBus()) as calls, asyncio.TaskGroup() as tasks:
        index = CachestoreIndex(calls, Log(), lambda: 1)
        runs = FleetRuns(home="s1", calls=calls, claims=index, tasks=tasks, log=Log())
        work = Work()
        work.end.set()
        async with asyncio.timeout(15):
            assert await runs.run(vertex(), keys(), work, Ears()) == (RESULT,)


async def test_a_kept_result_that_is_lost_is_made_again() -> None:
    """An executor goes away right after a step: for some seconds its run could still be joined, which would give the lost result again."""
    async with world() as mesh:
        one, two = await mesh.solver("one"), await mesh.solver("two")
        work = Work()
        work.end.set()
        await one.run(vertex(), keys(), work, Ears())
        assert await two.run(vertex(), keys(), work, Ears()) == (RESULT,)
        assert work.runs == 1

        two.lost([RESULT.id])
        await two.run(vertex(), keys(), work, Ears())

        assert work.runs == 2


async def test_what_was_claimed_is_stored_while_the_build_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key is known from the claim; what is asked later finds the result. What another hung on the key meanwhile is met at the claim."""
    monkeypatch.setattr(cache_index, "BARREN", 60.0)
    async with world() as mesh:
        ours = CachestoreIndex(mesh.calls, Log(), lambda: 1, mesh.tasks)
        key, child = keys()[0], ClaimWish(solver="s1", run="r2")
        claimed = await ours.claim([key], ClaimWish(solver="s1", run="r1"))
        assert claimed is not None and claimed.new_key
        key.id = (await ours.save(vertex().digest, [key], RESULT))[0]
        assert (key.id,) == claimed.key_ids
        await asyncio.sleep(0)  # its order leaves before any that a later task has

        asked = QueryLinks(links=((key.inputs[0][0].key.id, ""),), input=0, digest=key.digest, output=key.output)
        assert await mesh.index.ask(asked) == LinksFound(key_ids=(key.id,))
        found = await mesh.index.ask(FetchRecords(key_id=key.id))
        assert isinstance(found, RecordsFound) and [record.payload for record in found.records] == [RESULT]

        below = CacheKey(id="", digest="child", output=0, inputs=((KeyLink(key),),))
        await mesh.index.save(vertex().digest, [below], OTHER)
        assert await ours.ask(QueryLinks(links=((key.id, ""),), input=0, digest="child", output=0)) == LinksFound()
        met = await ours.claim([below], child)
        assert met is not None and met.found and met.ref == OTHER

        own = CacheKey(id="", digest="own child", output=0, inputs=((KeyLink(key),),))
        own.id = (await ours.save(vertex().digest, [own], OTHER))[0]
        assert await ours.ask(QueryLinks(links=((key.id, ""),), input=0, digest="own child", output=0)) == LinksFound(key_ids=(own.id,))
