"""The cachestore as a service on a memory bus, with an executor that is played."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.cachestore.config import CachestoreConfig
from services.cachestore.service import run
from shared.errors import InvalidInput
from shared.model import Digest, Ref
from shared.run.backends import MeshConfig, mesh_for, open_parts
from shared.run.mesh import Mesh
from shared.session.registry import SessionRegistry
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.messages import (
    CacheDrop,
    CacheKeys,
    CacheLink,
    CacheQuery,
    CacheRecordsOf,
    CacheSave,
    CacheSaved,
    DiskUsage,
    ExecutorInfo,
    GcRule,
    KeyDep,
    KeyNode,
    LeaseReleased,
    ListUsage,
    Prune,
    PrunedBatch,
    RefsRemoved,
    RemoveRefs,
    UsageRecord,
    UsageReport,
)

VERTEX = Digest("sha256:" + "a" * 64)
HOME = "executor-1"


class Executor:
    """Holds records; refuses to remove what is in use or has children."""

    def __init__(self, *records: UsageRecord) -> None:
        self.records = {record.id: record for record in records}
        self.refuses: set[str] = set()

    def usage(self, request: ListUsage, served: Any) -> UsageReport:
        return UsageReport(records=tuple(self.records.values()), disk_total=10**12, disk_free=5 * 10**11)

    def remove(self, request: RemoveRefs, served: Any) -> RefsRemoved:
        gone = []
        for id in request.ids:
            parents = {p for record in self.records.values() for p in record.parents}
            if id in self.records and id not in parents and id not in self.refuses:
                del self.records[id]
                gone.append(id)
        return RefsRemoved(ids=tuple(gone))


@asynccontextmanager
async def world(folder: Path, executor: Executor | None = None, **settings: Any) -> AsyncIterator[Mesh]:
    """The service runs, and the executor is registered, until the block ends."""
    async with (
        open_parts(MeshConfig(state=folder)) as parts,
        mesh_for("cachestore", parts, sessions=SessionRegistry()) as mesh,
        asyncio.TaskGroup() as tasks,
    ):
        service = tasks.create_task(run(CachestoreConfig(gc=settings.pop("gc", False), **settings), mesh))
        if executor is not None:
            handlers = {ListUsage: executor.usage, RemoveRefs: executor.remove}
            serving = tasks.create_task(mesh.calls.serve(subjects.executor_call(HOME), handlers, lasting=True))
            bucket = await mesh.bus.bucket(subjects.KV_EXECUTORS, ttl=5.0)
            rules = (GcRule(all=True, filters=("description==garbage",)),)
            await bucket.put(HOME, Codec().encode(ExecutorInfo(id=HOME, gc_policy=rules)))
        while not mesh.readiness.ready:
            await mesh.readiness.changed.wait()
            mesh.readiness.changed.clear()
        yield mesh
        await mesh.calls.drain()
        await service
        if executor is not None:
            serving.cancel()


def root(name: str) -> KeyNode:
    return KeyNode(digest=name, output=0)


async def save(mesh: Mesh, nodes: tuple[KeyNode, ...], ref: str, at: int = 1) -> CacheSaved:
    order = CacheSave(nodes=nodes, key=len(nodes) - 1, ref=Ref(id=ref, home=HOME), created_at=at, vertex=VERTEX)
    saved: CacheSaved = await mesh.calls.call(subjects.CACHE, order)
    return saved


async def query(mesh: Mesh, digest: str, *deps: KeyNode) -> CacheKeys:
    question = CacheQuery(nodes=deps, deps=tuple(KeyDep(node=i) for i in range(len(deps))), input=0, digest=digest, output=0)
    found: CacheKeys = await mesh.calls.call(subjects.CACHE, question)
    return found


async def records(mesh: Mesh, id: str) -> list[str]:
    answer = await mesh.calls.call(subjects.CACHE, CacheRecordsOf(nodes=(KeyNode(digest="", output=0, id=id),), key=0))
    return [record.id for record in answer.records]


CHILD = KeyNode(digest="child", output=0, deps=((KeyDep(node=0),),))


async def test_what_was_saved_is_found_by_its_inputs_also_after_a_restart(tmp_path: Path) -> None:
    async with world(tmp_path) as mesh:
        assert (await query(mesh, "base")).keys == ()
        await save(mesh, (root("base"),), "ref-base")
        saved = await save(mesh, (root("base"), CHILD), "ref-child")

    async with world(tmp_path) as mesh:
        (base,) = (await query(mesh, "base")).keys
        (child,) = (await query(mesh, "child", root("base"))).keys
        assert child.id == saved.key_ids[1]
        assert (base.has_records, base.dep, child.dep) == (True, -1, 0)
        assert await records(mesh, child.id) == ["ref-child"]


async def test_the_newest_record_comes_first(tmp_path: Path) -> None:
    async with world(tmp_path) as mesh:
        saved = [await save(mesh, (root("a"),), f"ref{at}", at) for at in (2, 3, 1)]

        assert await records(mesh, saved[0].key_ids[0]) == ["ref3", "ref2", "ref1"]


async def test_dropped_refs_are_forgotten(tmp_path: Path) -> None:
    async with world(tmp_path) as mesh:
        await save(mesh, (root("a"),), "lost")
        await mesh.calls.call(subjects.CACHE, CacheDrop(ref_ids=("lost", "never known")))

        assert (await query(mesh, "a")).keys == ()


async def test_a_link_makes_the_fast_key_hit(tmp_path: Path) -> None:
    async with world(tmp_path) as mesh:
        saved = await save(mesh, (root("content"), CHILD), "ref")
        both = KeyNode(digest="child", output=0, id=saved.key_ids[1], deps=((KeyDep(node=0), KeyDep(node=1)),))
        await mesh.calls.call(subjects.CACHE, CacheLink(nodes=(root("content"), root("fast"), both), key=2))

        assert [key.id for key in (await query(mesh, "child", root("fast"))).keys] == [saved.key_ids[1]]


async def test_results_of_an_executor_that_is_gone_are_not_handed_out(tmp_path: Path) -> None:
    async with world(tmp_path, presume_alive=0.0) as mesh:
        saved = await save(mesh, (root("a"),), "ref")

        assert await records(mesh, saved.key_ids[0]) == []

    async with world(tmp_path, Executor(), presume_alive=0.0) as mesh:
        assert await records(mesh, saved.key_ids[0]) == ["ref"]


@pytest.mark.parametrize(
    "question",
    [
        CacheQuery(nodes=(), deps=(KeyDep(node=0),), input=0, digest="d", output=0),
        CacheQuery(nodes=(root("a"),), deps=(KeyDep(node=-1),), input=0, digest="d", output=0),
        CacheQuery(nodes=(root("x" * 1000),), deps=(KeyDep(node=0),), input=0, digest="d", output=0),
        CacheQuery(nodes=(KeyNode(digest="d", output=0, deps=((KeyDep(node=0),),)),), deps=(), input=0, digest="d", output=0),
        CacheRecordsOf(nodes=(), key=0),
        CacheSave(nodes=(root("a"),), key=5, ref=None, created_at=0, vertex=VERTEX),
        CacheQuery(nodes=(root("a"),) * 5000, deps=(), input=0, digest="d", output=0),
    ],
)
async def test_nonsense_is_refused_and_the_service_lives(tmp_path: Path, question: Any) -> None:
    async with world(tmp_path) as mesh:
        with pytest.raises(InvalidInput):
            await mesh.calls.call(subjects.CACHE, question)
        assert (await query(mesh, "a")).keys == ()


BASE = UsageRecord(id="base", size=10, description="base")
TOP = UsageRecord(id="top", size=5, parents=("base",), description="garbage")
LATE = UsageRecord(id="late", size=1, last_used_at=2**62, record_type="exec.cachemount")


async def test_usage_is_what_executors_hold(tmp_path: Path) -> None:
    async with world(tmp_path, Executor(BASE, TOP, LATE)) as mesh:
        everything = await mesh.calls.call(subjects.CACHE, DiskUsage())
        some = await mesh.calls.call(subjects.CACHE, DiskUsage(filters=("type==exec.cachemount",)))
        old = await mesh.calls.call(subjects.CACHE, DiskUsage(age_limit=10**9))

    assert [r.id for r in everything.records] == ["base", "late", "top"]
    assert [r.id for r in some.records] == ["late"]
    assert [r.id for r in old.records] == ["base", "top"]


async def test_prune_streams_what_it_removes_and_forgets_the_keys(tmp_path: Path) -> None:
    executor = Executor(BASE, TOP, replace(LATE, in_use=True))
    told: list[str] = []

    def hear(batch: PrunedBatch) -> None:
        told.extend(record.id for record in batch.records)

    async with world(tmp_path, executor) as mesh:
        await save(mesh, (root("base"),), "base")
        await save(mesh, (root("base"), CHILD), "top")
        pruned = await mesh.calls.call(subjects.CACHE, Prune(all=True), on_progress=hear)

        assert (await query(mesh, "base")).keys == ()

    assert (told, pruned.freed, list(executor.records)) == (["top", "base"], 15, ["late"])


async def test_prune_goes_on_when_an_executor_refuses(tmp_path: Path) -> None:
    executor = Executor(BASE, TOP, LATE)
    executor.refuses = {"top"}

    async with world(tmp_path, executor) as mesh:
        pruned = await mesh.calls.call(subjects.CACHE, Prune(all=True))

    assert (pruned.freed, sorted(executor.records)) == (1, ["base", "top"])


async def test_a_bad_filter_is_an_error_of_the_asker(tmp_path: Path) -> None:
    async with world(tmp_path, Executor()) as mesh:
        with pytest.raises(InvalidInput, match="filter"):
            await mesh.calls.call(subjects.CACHE, Prune(filters=("id=",)))


@pytest.mark.slow
async def test_garbage_is_collected_after_a_start_and_lost_results_are_forgotten(tmp_path: Path) -> None:
    executor = Executor(BASE, TOP)
    async with world(tmp_path) as mesh:
        await save(mesh, (root("a"),), "base")
        await save(mesh, (root("b"),), "not held any more")

    async with world(tmp_path, executor, gc=True, gc_interval=0.1) as mesh:
        async with asyncio.timeout(10):
            while "top" in executor.records or (await query(mesh, "b")).keys:
                await mesh.bus.publish(subjects.LEASES, Codec().encode(LeaseReleased(lease="build")))
                await asyncio.sleep(0.1)
        assert [key.has_records for key in (await query(mesh, "a")).keys] == [True]
