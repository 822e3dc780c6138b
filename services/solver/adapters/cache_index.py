"""The cache index over calls to the cachestore."""

from collections.abc import Callable, Sequence

from services.solver.core.cache_key import CacheKey, root_key_id
from services.solver.core.questions import FetchRecords, LinksFound, QueryLinks, Question, RecordsFound, Reply
from services.solver.core.vertex import CacheRecord, Digest
from shared.bus.calls import Calls
from shared.errors import BuildmeshError
from shared.model import Digest as ContentDigest
from shared.model import Ref
from shared.run import new_id
from shared.telemetry import Log
from shared.wire import subjects
from shared.wire.messages import CacheDrop, CacheKeys, CacheQuery, CacheRecords, CacheRecordsOf, CacheSave, CacheSaved, KeyDep, KeyNode

REMEMBERED = 10_000
WITHIN = 10.0  # seconds until a cachestore that is not there counts as empty


class CachestoreIndex:
    """A CacheIndex. Answers that only repeat what a question a moment ago said («no records») are given from memory."""

    def __init__(self, calls: Calls, log: Log, now_ns: Callable[[], int]) -> None:
        self._calls = calls
        self._log = log
        self._now_ns = now_ns
        self._empty: dict[str, None] = {}

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
        nodes = tuple(KeyNode(digest="", output=0, id=key_id) for key_id, _ in q.links)
        deps = tuple(KeyDep(node=i, selector=selector) for i, (_, selector) in enumerate(q.links))
        found: CacheKeys = await self._calls.call(
            subjects.CACHE, CacheQuery(nodes=nodes, deps=deps, input=q.input, digest=q.digest, output=q.output), within=WITHIN
        )
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

    async def save(self, vertex: Digest, keys: Sequence[CacheKey], ref: Ref | None) -> tuple[str, ...]:
        """Session-local root keys are not stored; a key that couldn't be stored gets an id that nobody finds."""
        ids = []
        for key in keys:
            if not key.inputs and key.digest.startswith("random:"):
                ids.append(root_key_id(key.digest, key.output))
                continue
            try:
                ids.append(await self._save_one(vertex, key, ref))
            except BuildmeshError as error:
                self._log.warning("a result could not be stored in the cache index", vertex=vertex, error=str(error))
                ids.append(key.id or new_id())
        return tuple(ids)

    async def _save_one(self, vertex: Digest, key: CacheKey, ref: Ref | None) -> str:
        nodes: list[KeyNode] = []
        deps: list[tuple[KeyDep, ...]] = []
        for links in key.inputs:
            row = []
            for link in links:
                row.append(KeyDep(node=len(nodes), selector=link.selector))
                nodes.append(KeyNode(digest=link.key.digest, output=link.key.output, id=link.key.id))
            deps.append(tuple(row))
        nodes.append(KeyNode(digest=key.digest, output=key.output, id="" if key.inputs else key.id, deps=tuple(deps)))
        saved: CacheSaved = await self._calls.call(
            subjects.CACHE,
            CacheSave(nodes=tuple(nodes), key=len(nodes) - 1, ref=ref, created_at=self._now_ns(), vertex=ContentDigest(vertex)),
            within=WITHIN,
        )
        return saved.key_ids[-1]

    async def drop(self, ref_ids: Sequence[str]) -> None:
        """Best effort: a record that stays is found to be lost again."""
        try:
            await self._calls.call(subjects.CACHE, CacheDrop(ref_ids=tuple(ref_ids)), within=WITHIN)
        except BuildmeshError as error:
            self._log.warning("lost results could not be dropped from the cache index", error=str(error))
