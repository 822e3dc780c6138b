"""The cache index over calls to the cachestore."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from services.solver.core.cache_key import CacheKey, root_key_id
from services.solver.core.questions import FetchRecords, LinksFound, QueryLinks, Question, RecordsFound, Reply
from services.solver.core.vertex import CacheRecord, Digest
from services.solver.ports import ClaimWish
from shared.bus.calls import Calls
from shared.errors import BuildmeshError
from shared.model import CacheEntry, Ref
from shared.model import Digest as ContentDigest
from shared.run import new_id
from shared.telemetry import Log
from shared.wire import subjects
from shared.wire.messages import (
    CacheChain,
    CacheChainFound,
    CacheDrop,
    CacheKeys,
    CacheQuery,
    CacheRecords,
    CacheRecordsOf,
    CacheSave,
    CacheSaved,
    ChainNode,
    ClaimRun,
    KeyDep,
    KeyNode,
    ReleaseRuns,
    RunClaimed,
)

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED = 10_000
LINK_OUTPUT = 0  # links are known by the hash of digest and output, as in cache configs, so that imported ones are the same links
WITHIN = 10.0  # seconds until a cachestore that is not there counts as empty
BARREN = 1.0  # seconds that a key of ours which was new is known to lead nowhere; whoever is quicker is met at the claim
AT_ONCE = 1000  # results on their way to the cachestore; more are waited for

Nodes = tuple[KeyNode, ...]


class CachestoreIndex:
    """A CacheIndex. Answers that only repeat what a question a moment ago said («no records») are given from memory.

    A result whose key got its id with the claim is stored while the build goes on: what is asked later is answered after it, since the
    bus keeps the order. `tasks` are those in which that happens; without them each result is waited for.
    """

    def __init__(self, calls: Calls, log: Log, now_ns: Callable[[], int], tasks: asyncio.TaskGroup | None = None) -> None:
        self._calls = calls
        self._log = log
        self._now_ns = now_ns
        self._tasks = tasks
        self._saving = 0
        self._empty: dict[str, None] = {}
        self._told: dict[Nodes, tuple[str, bool]] = {}  # ids of keys that were claimed, and whether they were new
        self._barren: dict[str, float] = {}  # keys that lead nowhere, and until when that holds

    async def ask(self, question: Question) -> Reply:
        """LinksFound or RecordsFound; empty when the cachestore can't be asked."""
        try:
            match question:
                case QueryLinks():
                    return await self._query(question)
                case FetchRecords():
                    return await self._records(question)
        except BuildmeshError as error:
            self._log.warning("the cache index did not answer; counts as a miss", error=str(error))
            return LinksFound() if isinstance(question, QueryLinks) else RecordsFound()

    async def _query(self, q: QueryLinks) -> LinksFound:
        now = asyncio.get_running_loop().time()
        if all(self._barren.get(key_id, 0.0) > now for key_id, _ in q.links):
            return LinksFound()
        nodes = tuple(KeyNode(digest="", output=0, id=key_id) for key_id, _ in q.links)
        deps = tuple(KeyDep(node=i, selector=selector) for i, (_, selector) in enumerate(q.links))
        question = CacheQuery(nodes=nodes, deps=deps, input=q.input, digest=root_key_id(q.digest, q.output), output=LINK_OUTPUT)
        found: CacheKeys = await self._calls.call(subjects.CACHE, question, within=WITHIN)
        if len(self._empty) > REMEMBERED:
            self._empty.clear()
        for key in found.keys:
            if not key.has_records:
                self._empty[key.id] = None
        return LinksFound(key_ids=tuple(dict.fromkeys(key.id for key in found.keys)))

    async def _records(self, q: FetchRecords) -> RecordsFound:
        if q.digest:
            found: CacheKeys = await self._calls.call(
                subjects.CACHE, CacheQuery(nodes=(), deps=(), input=0, digest=q.digest, output=q.output), within=WITHIN
            )
            if not found.keys:
                return RecordsFound()
            if not found.keys[0].has_records:
                return RecordsFound(exists=True)
        elif q.key_id in self._empty:
            del self._empty[q.key_id]
            return RecordsFound(exists=True)
        node = KeyNode(digest=q.digest, output=q.output, id=q.key_id)
        answer: CacheRecords = await self._calls.call(subjects.CACHE, CacheRecordsOf(nodes=(node,), key=0), within=WITHIN)
        records = tuple(CacheRecord(id=r.id, created_at=r.created_at, priority=r.priority, payload=r.ref) for r in answer.records)
        return RecordsFound(exists=True, records=records)

    async def save(self, vertex: Digest, keys: Sequence[CacheKey], ref: Ref | None, identity: str = "") -> tuple[str, ...]:
        """Session-local root keys are not stored; a key that couldn't be stored gets an id that nobody finds."""
        ids = []
        for key in keys:
            if not key.inputs and key.digest.startswith("random:"):
                ids.append(root_key_id(key.digest, key.output))
                continue
            try:
                ids.append(await self._save_key(vertex, key, ref, identity))
            except BuildmeshError as error:
                self._log.warning("a result could not be stored in the cache index", vertex=vertex, error=str(error))
                ids.append(key.id or new_id())
        return tuple(ids)

    async def claim(self, keys: Sequence[CacheKey], claim: ClaimWish) -> RunClaimed | None:
        """None when the cachestore can't be asked."""
        if len(keys) == 1:
            nodes = _nodes_of(keys[0])
            places: tuple[int, ...] = (len(nodes) - 1,)
        else:
            nodes = [_nodes_of(key)[-1] for key in keys]  # several keys: a vertex without inputs
            places = tuple(range(len(nodes)))
        order = ClaimRun(
            nodes=tuple(nodes),
            keys=places,
            solver=claim.solver,
            run=claim.run,
            gone=claim.gone,
            fresh=claim.fresh,
            single=claim.single,
        )
        try:
            answer = await self._calls.call(subjects.CACHE, order, within=WITHIN)
        except BuildmeshError as error:
            self._log.warning("the cachestore did not say whether somebody runs this already", error=str(error))
            return None
        assert isinstance(answer, RunClaimed)
        if len(keys) == 1 and answer.key_ids:
            _remember(self._told, tuple(nodes), (answer.key_ids[0], answer.new_key))
        return answer

    async def release(self, runs: Sequence[str], *, solver: str) -> None:
        """Best effort: a claim that stays is found to be gone."""
        try:
            await self._calls.call(subjects.CACHE, ReleaseRuns(runs=tuple(runs), solver=solver), within=WITHIN)
        except BuildmeshError as error:
            self._log.warning("claims could not be released", error=str(error))

    async def _save_key(self, vertex: Digest, key: CacheKey, ref: Ref | None, identity: str) -> str:
        nodes = tuple(_nodes_of(key))
        id, new = self._told.pop(nodes, ("", False))
        for below in nodes[:-1]:
            self._barren.pop(below.id, None)  # from now on it leads here
        order = CacheSave(
            nodes=(*nodes[:-1], replace(nodes[-1], id=id)) if id else nodes,
            key=len(nodes) - 1,
            ref=ref,
            created_at=self._now_ns(),
            vertex=ContentDigest(vertex),
            identity=identity,
        )
        if not id or self._tasks is None or self._saving >= AT_ONCE:
            saved: CacheSaved = await self._calls.call(subjects.CACHE, order, within=WITHIN)
            return saved.key_ids[-1]
        if new:
            _remember(self._barren, id, asyncio.get_running_loop().time() + BARREN)
        self._saving += 1
        self._tasks.create_task(self._save_behind(order), name="result")
        return id

    async def _save_behind(self, order: CacheSave) -> None:
        try:
            await self._calls.call(subjects.CACHE, order, within=WITHIN)
        except BuildmeshError as error:
            self._log.warning("a result could not be stored in the cache index", vertex=order.vertex, error=str(error))
        finally:
            self._saving -= 1

    async def chain(self, keys: Sequence[str]) -> tuple[ChainNode, ...]:
        """Nothing when the cachestore can't be asked."""
        try:
            found: CacheChainFound = await self._calls.call(subjects.CACHE, CacheChain(keys=tuple(keys)), within=WITHIN)
        except BuildmeshError as error:
            self._log.warning("the cache index did not tell what to export", error=str(error))
            return ()
        return found.nodes

    async def learn(self, entries: Sequence[CacheEntry]) -> None:
        """One order per result, with all the keys that it follows from."""
        for index, entry in enumerate(entries):
            if not entry.layers:
                continue
            nodes = _closure(entries, index)
            ref = imported_ref(entry)
            order = CacheSave(nodes=nodes, key=len(nodes) - 1, ref=ref, created_at=entry.created_at, vertex=ContentDigest(entry.digest))
            await self._calls.call(subjects.CACHE, order, within=WITHIN)

    async def drop(self, ref_ids: Sequence[str]) -> None:
        """Best effort: a record that stays is found to be lost again."""
        try:
            await self._calls.call(subjects.CACHE, CacheDrop(ref_ids=tuple(ref_ids)), within=WITHIN)
        except BuildmeshError as error:
            self._log.warning("lost results could not be dropped from the cache index", error=str(error))


def _remember(table: dict[K, V], key: K, value: V) -> None:
    """The oldest of too many are forgotten."""
    table[key] = value
    if len(table) > REMEMBERED:
        del table[next(iter(table))]


def _nodes_of(key: CacheKey) -> list[KeyNode]:
    """The key, last, after the keys of its inputs."""
    nodes: list[KeyNode] = []
    deps: list[tuple[KeyDep, ...]] = []
    for links in key.inputs:
        row = []
        for link in links:
            row.append(KeyDep(node=len(nodes), selector=link.selector))
            nodes.append(KeyNode(digest=link.key.digest, output=link.key.output, id=link.key.id))
        deps.append(tuple(row))
    if key.inputs:
        nodes.append(KeyNode(digest=root_key_id(key.digest, key.output), output=LINK_OUTPUT, deps=tuple(deps)))
    else:
        nodes.append(KeyNode(digest=key.digest, output=key.output, id=key.id))
    return nodes


def imported_ref(entry: CacheEntry) -> Ref:
    """A lazy ref; the same layers give the same id, so that importing twice changes nothing."""
    chain = hashlib.sha256("\0".join(layer.digest for layer in entry.layers).encode()).hexdigest()
    return Ref(id=f"cache-{chain[:40]}", layers=entry.layers)


def _closure(entries: Sequence[CacheEntry], index: int) -> tuple[KeyNode, ...]:
    """The entry and what it follows from, inputs first, itself last."""
    needed: dict[int, None] = {}
    pending = [index]
    while pending:
        at = pending.pop()
        if at not in needed:
            needed[at] = None
            pending.extend(name.entry for names in entries[at].inputs for name in names)
    order = sorted(needed)  # inputs stand before what follows from them
    place = {at: position for position, at in enumerate(order)}
    nodes = []
    for at in order:
        entry = entries[at]
        deps = tuple(tuple(KeyDep(node=place[name.entry], selector=name.selector) for name in names) for names in entry.inputs)
        nodes.append(KeyNode(digest=entry.digest, output=LINK_OUTPUT, id="" if deps else entry.digest, deps=deps))
    return tuple(nodes)
