"""Build history: who hears of what, where records and their blobs go, and when they are forgotten."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum

from services.gateway.adapters.records import decode_record, encode_record
from services.gateway.adapters.status_codec import pack_log
from services.gateway.core.history import (
    ERROR_TYPE,
    LOGS_TYPE,
    PREDICATE_TYPE,
    PROVENANCE_TYPE,
    TRACE_TYPE,
    Blob,
    BuildRecord,
    Outcome,
    blobs_of,
    expired,
    select,
)
from services.gateway.core.status import Tally
from services.gateway.ports import Records
from shared.blobs.ports import Blobs
from shared.bus.ports import PubSub
from shared.errors import BlobMissing, BuildmeshError, NotFound
from shared.model import Digest
from shared.rpc.status import pack_details, status_of
from shared.run.clock import Clock
from shared.wire import subjects
from shared.wire.build import HistoryChanged
from shared.wire.codec import Codec

GC_INTERVAL = 120.0
LISTENER_BACKLOG = 1024


class Kind(Enum):
    """What happened to a record."""

    STARTED = "started"
    COMPLETE = "complete"
    DELETED = "deleted"


Change = tuple[Kind, BuildRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a listener wants to see."""

    ref: str = ""
    active_only: bool = False
    early_exit: bool = False
    filters: tuple[str, ...] = ()
    limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is remembered: `max_age` in ns."""

    max_entries: int
    max_age: int


class History:
    """The history as all gateways see it: records in one store, changes told to every gateway by broadcast."""

    def __init__(self, bus: PubSub, codec: Codec, records: Records, blobs: Blobs, clock: Clock, limits: Limits) -> None:
        self._bus, self._codec, self._records, self._blobs, self._clock, self._limits = bus, codec, records, blobs, clock, limits
        self._listeners: set[asyncio.Queue[Change]] = set()
        self._held: dict[str, int] = {}
        self._deleted: set[str] = set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Hear what other gateways tell, and forget what is old. Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forget(), name="history gc")
            while True:
                try:
                    async with self._bus.subscribe(subjects.HISTORY) as changes:
                        ready()
                        async for delivery in changes:
                            self._hear(delivery.data)
                except BuildmeshError:  # fell behind, or the bus is away: what was missed is in the records
                    await asyncio.sleep(1.0)

    def _hear(self, data: bytes) -> None:
        try:
            message = self._codec.decode(data).body
            kind = Kind(message.kind) if isinstance(message, HistoryChanged) else None
        except (BuildmeshError, ValueError):
            return  # anybody may publish; what can't be read changes nothing
        record = decode_record(message.record)
        if kind is None or record is None:
            return
        for queue in list(self._listeners):
            if queue.full():
                self._listeners.discard(queue)  # it will see its stream end
            else:
                queue.put_nowait((kind, record))

    async def started(self, record: BuildRecord) -> None:
        """A build that may be shown has begun."""
        self._deleted.discard(record.ref)
        await self._tell(Kind.STARTED, record)

    async def completed(self, record: BuildRecord) -> None:
        """Keep the record, and tell."""
        await self._records.put(record)
        await self._tell(Kind.COMPLETE, record)

    async def _tell(self, kind: Kind, record: BuildRecord) -> None:
        await self._bus.publish(subjects.HISTORY, self._codec.encode(HistoryChanged(kind=kind.value, record=encode_record(record))))

    async def get(self, ref: str) -> BuildRecord | None:
        """The record of a finished build."""
        return None if ref in self._deleted else await self._records.get(ref)

    async def log_of(self, record: BuildRecord) -> bytes | None:
        """The stored log blob of a finished build."""
        if record.logs is None:
            return None
        try:
            async with self._blobs.open(Digest(record.logs.digest)) as reader:
                return b"".join([chunk async for chunk in reader.chunks()])
        except BlobMissing:
            return None

    async def listen(self, question: Question, active: Callable[[], Awaitable[list[BuildRecord]]]) -> AsyncIterator[Change]:
        """Active builds, finished ones, then live changes (BuildKit history/buildhistory.go Listen)."""
        if question.ref in self._deleted:
            raise NotFound(f"ref {question.ref} is deleted")
        with self._listening(question) as queue:
            for record in await active():
                if question.ref in ("", record.ref) and record.ref not in self._deleted:
                    yield Kind.STARTED, record
            if not question.active_only:
                for record in await self._finished(question):
                    yield Kind.COMPLETE, record
            while not question.early_exit:
                kind, record = await self._next(queue)
                if question.ref in ("", record.ref):
                    yield kind, record

    async def _next(self, queue: asyncio.Queue[Change]) -> Change:
        if queue not in self._listeners and queue.empty():
            raise BuildmeshError("history listener fell behind")
        return await queue.get()

    async def _finished(self, question: Question) -> list[BuildRecord]:
        if question.ref:
            found = await self.get(question.ref)
            records = [found] if found else []
        else:
            records = sorted((r for r in await self._records.all() if r.ref not in self._deleted), key=lambda r: r.created_at)
        return select(records, filters=question.filters, limit=question.limit, now=self._clock.now_ns())

    @contextmanager
    def _listening(self, question: Question) -> Iterator[asyncio.Queue[Change]]:
        queue: asyncio.Queue[Change] = asyncio.Queue(LISTENER_BACKLOG)
        self._listeners.add(queue)
        self._held[question.ref] = self._held.get(question.ref, 0) + 1
        try:
            yield queue
        finally:
            self._listeners.discard(queue)
            self._held[question.ref] -= 1
            if not self._held[question.ref]:
                del self._held[question.ref]

    async def attach_trace(self, ref: str, spans: bytes) -> None:
        """Store the spans of a finished build, and tell that its record has changed. A record that is gone stays gone."""
        blob = await self._keep(spans, TRACE_TYPE)
        record = await self.get(ref)
        if record is not None:
            await self.completed(replace(record, trace=blob, generation=record.generation + 1))

    async def pin(self, ref: str, *, pinned: bool) -> None:
        """Raises NotFound."""
        record = await self.get(ref)
        if record is None:
            raise NotFound(f"history record {ref[:100]} not found")
        if record.pinned != pinned:
            await self.completed(replace(record, pinned=pinned, generation=record.generation + 1))

    async def delete(self, ref: str) -> None:
        """Forget a record and the blobs that only it names. Unknown refs are no error."""
        record = await self._records.get(ref)
        if record is None:
            return
        await self._records.delete(ref)
        others = {b.digest for r in await self._records.all() for b in blobs_of(r)}
        for blob in blobs_of(record):
            if blob.digest not in others:
                await self._blobs.delete(Digest(blob.digest))
        await self._tell(Kind.DELETED, record)

    async def _forget(self) -> None:
        while True:
            await asyncio.sleep(GC_INTERVAL)
            with suppress(BuildmeshError):  # another turn comes
                await self._forget_expired()

    async def _forget_expired(self) -> None:
        limits = self._limits
        records = await self._records.all()
        for record in expired(records, now=self._clock.now_ns(), max_entries=limits.max_entries, max_age=limits.max_age):
            await self.delete(record.ref)

    async def keep_log(self, messages: list[bytes]) -> Blob:
        """Store the progress of a build."""
        return await self._keep(pack_log(messages), LOGS_TYPE)

    async def keep_error(self, error: BaseException) -> tuple[tuple[int, str], Blob]:
        """Store the whole error; the record itself gets code and message only."""
        status = status_of(error)
        return (int(status.code), status.message), await self._keep(pack_details(status), ERROR_TYPE)

    async def keep_provenance(self, predicates: Mapping[str, bytes]) -> dict[str, Blob]:
        """Store what results were made from, by platform id ("" = the only result)."""
        kept = {platform: await self._keep(data, PROVENANCE_TYPE) for platform, data in predicates.items()}
        return {platform: replace(blob, annotations={"in-toto.io/predicate-type": PREDICATE_TYPE}) for platform, blob in kept.items()}

    async def _keep(self, data: bytes, media_type: str) -> Blob:
        digest = await self._blobs.put(data)
        return Blob(media_type=media_type, digest=digest, size=len(data))


def with_provenance(record: BuildRecord, kept: Mapping[str, Blob]) -> BuildRecord:
    """`record` with the provenance of its results: the only one's with the result itself, others with the platforms'."""
    results = {platform: Outcome(attestations=(blob,)) for platform, blob in kept.items() if platform}
    result = record.result
    if "" in kept:
        result = replace(result or Outcome(), attestations=(kept[""],))
    return replace(record, result=result, results={**record.results, **results})


def finished_record(
    started: BuildRecord, *, now: int, tally: Tally, results: dict[int, Blob] | None, response: dict[str, str]
) -> BuildRecord:
    """`started` with what its end has told; `results` None = it failed. A successful build always has a result: clients dereference it."""
    return replace(
        started,
        completed_at=now,
        total_steps=tally.total,
        cached_steps=tally.cached,
        completed_steps=tally.completed,
        warnings=tally.warnings,
        result=None if results is None else Outcome(results=results),
        exporter_response=response,
    )
