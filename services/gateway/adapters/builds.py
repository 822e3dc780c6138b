"""Builds in flight: put on the queue, followed, joined by bridge calls, and written into the history at their end."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from services.gateway.adapters.awaited_builds import REGISTERED_WITHIN, AwaitedBuilds
from services.gateway.adapters.build_metrics import BuildMetrics, error_code
from services.gateway.adapters.history import History, finished_record, with_provenance
from services.gateway.adapters.recording import Recording, Recordings
from services.gateway.adapters.records import decode_record, encode_record
from services.gateway.adapters.solve_codec import build_message
from services.gateway.adapters.status_codec import unpack_log
from services.gateway.adapters.trace_record import SpanRecorder, encode_spans, trace_id_of
from services.gateway.core.history import Blob, BuildRecord
from services.gateway.core.solve_request import SolveRequest
from services.gateway.ports import Progress
from shared.bus.calls import Calls
from shared.bus.ports import Bus, KeyValue
from shared.errors import BuildmeshError, CallLost, Canceled, InvalidInput, NotFound, Unavailable, UserError
from shared.model import is_safe_id
from shared.run.clock import Clock
from shared.run.spans import INTERVAL
from shared.telemetry import Log, Span, Tracer
from shared.wire import subjects
from shared.wire.build import ActiveBuild, BuildEvents, SolveDone
from shared.wire.codec import Codec

ACTIVE_TTL = subjects.TTL[subjects.KV_BUILDS]
RENEW_EVERY = 10.0
ANNOUNCE_TRIES, ANNOUNCE_AGAIN = 5, 1.0  # seconds between two tries, each of which waits for some seconds itself
LAST_WORD_WITHIN = 1.0
"""Seconds that the solver's final event may lag behind its answer."""
TRACE_AFTER = 3.0
LAST_SPANS_WITHIN = 2 * INTERVAL  # the other services' last batches are in by then
"""Seconds after the end of a build until its spans are stored (BuildKit solver/llbsolver/history.go)."""
TAKEN_OVER = 20
"""Solvers that may be lost under one bridge call; for each the next one is waited for, 30 s at most."""


@dataclass(slots=True, kw_only=True)
class _Running:
    """A build whose Solve call this gateway holds."""

    active: ActiveBuild
    record: BuildRecord
    recording: Recording
    scopes: set[asyncio.Timeout] = field(default_factory=set)
    trace: str = ""


class StoredProgress:
    """The progress of a finished build, from its log blob."""

    def __init__(self, blob: bytes) -> None:
        self._blob = blob

    async def messages(self) -> AsyncIterator[list[bytes]]:
        """All of it."""
        yield list(unpack_log(self._blob))


class Builds:
    """All builds as this gateway knows them. `gateway` is its id in the fleet."""

    def __init__(
        self,
        *,
        gateway: str,
        bus: Bus,
        calls: Calls,
        codec: Codec,
        recordings: Recordings,
        history: History,
        traces: SpanRecorder,
        tracer: Tracer,
        clock: Clock,
        log: Log,
        metrics: BuildMetrics,
    ) -> None:
        self._gateway, self._bus, self._calls, self._codec = gateway, bus, calls, codec
        self._recordings, self._history, self._clock, self._log = recordings, history, clock, log
        self._traces, self._tracer, self._metrics = traces, tracer, metrics
        self._running: dict[str, _Running] = {}
        self._hearing: dict[str, asyncio.Task[None]] = {}
        self._untraced: dict[str, tuple[asyncio.Event, asyncio.Event]] = {}
        self._awaited = AwaitedBuilds(self._is_known, self._appeared)
        self._bucket: KeyValue | None = None
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Keep the entries of running builds alive, finish what lost its client. Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            while True:
                await asyncio.sleep(RENEW_EVERY)
                try:
                    bucket = await self._active()
                    for ref in list(self._running):
                        if (running := self._running.get(ref)) is not None:  # it may end while others are written
                            await bucket.put(ref, self._codec.encode(running.active))
                except BuildmeshError as error:  # entries live for three turns
                    self._log.warning("running builds could not be announced", error=error)

    # -- solve --------------------------------------------------------------------------------------------------------

    async def solve(self, request: SolveRequest, *, identity: str) -> dict[str, str]:
        """The exporter response. Cancelling it cancels the build. Raises UserError when the ref is active already."""
        running = await self._begin(request)
        try:
            done: SolveDone = await self._calls.run(subjects.BUILDS, build_message(request, identity=identity))
        except asyncio.CancelledError:
            self._spawn(self._end(running, None, Canceled("context canceled")))
            raise
        except BuildmeshError as error:
            await asyncio.shield(self._spawn(self._end(running, None, error)))
            raise
        await asyncio.shield(self._spawn(self._end(running, done, None)))
        return dict(done.exporter_response)

    async def _begin(self, request: SolveRequest) -> _Running:
        record = BuildRecord(
            ref=request.ref,
            created_at=self._clock.now_ns(),
            frontend=request.frontend,
            frontend_attrs=request.frontend_attrs,
            exporters=tuple(request.exporters),
        )
        active = ActiveBuild(ref=request.ref, gateway=self._gateway, internal=request.internal, record=encode_record(record))
        if request.ref in self._running or not await self._announced(request.ref, self._codec.encode(active)):
            raise UserError(f"job ID {request.ref} exists")
        running = _Running(active=active, record=record, recording=self._recordings.start(request.ref))
        self._running[request.ref] = running
        self._awaited.end(request.ref)  # nearer than the bucket's own news
        if not request.internal:
            self._tracer.of_build(request.ref)
            self._log.info("a build has begun", frontend=request.frontend)
            running.trace = trace_id_of(self._tracer.current())
            self._record_trace(running.trace)
            await self._tell_start(record)
        return running

    async def _announced(self, ref: str, value: bytes) -> bool:
        """False when another build of this name runs. Waits for a bus that is coming back; an answer may have got lost."""
        bucket = await self._active()
        with self._awaited.beginning(ref):
            for _ in range(ANNOUNCE_TRIES):
                try:
                    if await bucket.create(ref, value) is not None:
                        return True
                    found = await bucket.get(ref)
                    return found is not None and found.value == value
                except Unavailable as error:
                    self._log.warning("a build waits for the bus", build=ref, error=error)
                await asyncio.sleep(ANNOUNCE_AGAIN)
        raise Unavailable("the bus is away")

    async def _tell_start(self, record: BuildRecord) -> None:
        try:
            await self._history.started(record)
        except BuildmeshError as error:  # listeners miss a line; the build goes on
            self._log.warning("the start of a build was not told", build=record.ref, error=error)

    async def _end(self, running: _Running, done: SolveDone | None, error: BuildmeshError | None) -> None:
        try:
            await self._end_progress(running.recording)
            if not running.active.internal:
                await self._remember(running, done, error)
        except Exception as failure:  # the build's own outcome must not depend on its history
            self._log.error("history of a build was not kept", build=running.active.ref, error=failure)
        finally:
            self._running.pop(running.active.ref, None)
            for scope in list(running.scopes):
                scope.reschedule(asyncio.get_running_loop().time())
            await self._withdraw(running.active.ref)

    async def _withdraw(self, ref: str) -> None:
        try:
            await (await self._active()).delete(ref)
        except BuildmeshError as error:  # the entry expires by itself
            self._log.warning("the end of a build was not announced", build=ref, error=error)

    async def _end_progress(self, recording: Recording) -> None:
        try:
            async with asyncio.timeout(LAST_WORD_WITHIN):
                while not recording.ended:
                    await recording.changed()
        except TimeoutError:  # its solver is gone; other gateways wait for a last word as well
            await self._bus.append(subjects.build_events(recording.ref), self._codec.encode(BuildEvents(last=True)))
        self._recordings.finish(recording)

    async def _remember(self, running: _Running, done: SolveDone | None, error: BuildmeshError | None) -> None:
        record = finished_record(
            running.record,
            now=self._clock.now_ns(),
            tally=running.recording.tally(),
            results=_results(done) if done else None,
            response=dict(done.exporter_response) if done else {},
        )
        record = replace(record, logs=await self._history.keep_log(running.recording.stored()))
        if done is not None and done.provenance:
            record = with_provenance(record, await self._history.keep_provenance(done.provenance))
        if error is not None:
            told, blob = await self._history.keep_error(error)
            record = replace(record, error=told, external_error=blob)
        self._metrics.finished(record)
        self._tell_end(record, running.trace)
        await self._history.completed(record)
        self._spawn(self._attach_trace(record.ref, running.trace))

    def _tell_end(self, record: BuildRecord, trace: str) -> None:
        """By its code only, as texts of errors quote commands. The trace by name, as the client may have left its span long ago."""
        code = error_code(record.error[0]) if record.error else ""
        seconds = round((record.completed_at - record.created_at) / 1e9, 3)
        steps = {"steps": record.total_steps, "cached": record.cached_steps}
        self._log.info("a build has ended", build=record.ref, traceID=trace, error=code, seconds=seconds, **steps)

    def _record_trace(self, trace: str) -> None:
        if self._traces.record(trace) and trace:
            self._hearing[trace] = self._spawn(self._traces.hear(self._bus, self._codec, trace))

    def _take_trace(self, trace: str) -> list[Span]:
        spans = self._traces.take(trace)
        if not self._traces.recording(trace) and trace in self._hearing:
            self._hearing.pop(trace).cancel()
        return spans

    async def _attach_trace(self, ref: str, trace: str) -> None:
        """Spans come in for a while after the end; then, or as soon as somebody asks, they are stored with the record."""
        wanted, done = self._untraced[ref] = asyncio.Event(), asyncio.Event()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TRACE_AFTER):
                    await wanted.wait()
                    await asyncio.sleep(LAST_SPANS_WITHIN)
            if spans := self._take_trace(trace):
                await self._history.attach_trace(ref, encode_spans(spans))
        except BuildmeshError as error:
            self._log.warning("the trace of a build was not kept", build=ref, error=error)
        finally:
            self._untraced.pop(ref, None)
            done.set()

    async def finalize(self, ref: str) -> None:
        """Return once the record is whole, its trace included."""
        if ref in self._untraced:
            wanted, done = self._untraced[ref]
            wanted.set()
            await done.wait()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        assert self._tasks is not None, "Builds.run is not running"
        return self._tasks.create_task(work)

    # -- asked by others ------------------------------------------------------------------------------------------------

    async def active_records(self) -> list[BuildRecord]:
        """Running builds of the whole fleet that may be shown, oldest first."""
        found = [self._decode(entry.value) for entry in await (await self._active()).entries()]
        records = [decode_record(a.record) for a in found if a is not None and not a.internal]
        return sorted((r for r in records if r is not None), key=lambda r: r.created_at)

    async def progress(self, ref: str, *, wait: float) -> Progress:
        """Of a finished build from the history, else of the running one, for which `wait` s are spent. Raises NotFound."""
        if not is_safe_id(ref):
            raise NotFound(f"no such job {ref[:100]}")
        record = await self._history.get(ref)
        stored = await self._history.log_of(record) if record is not None else None
        if stored is not None and ref not in self._running:
            return StoredProgress(stored)
        try:
            await self.registered(ref, wait=wait)
        except NotFound:
            if self._awaited.is_refused(ref):
                return StoredProgress(b"")
            raise
        return self._recordings.get(ref) or self._recordings.start(ref)

    def refuse(self, ref: str) -> None:
        """A Solve with this ref was refused: whoever waits for it need not wait longer."""
        self._awaited.refuse(ref)

    async def registered(self, ref: str, *, wait: float = REGISTERED_WITHIN) -> None:
        """Wait until some gateway runs (or has just run) this build. Raises NotFound `no such job <ref>`."""
        await self._awaited.wait(ref, wait)

    def _is_known(self, ref: str) -> bool:
        return ref in self._running or self._recordings.get(ref) is not None

    async def _appeared(self, ref: str) -> None:
        async with (await self._active()).watch(ref) as changes:
            async for key, entry in changes:
                if key == ref and entry is not None:
                    return

    async def ask(self, ref: str, message: Any) -> Any:
        """A bridge call to the solver of a build; waits for the build to appear. Raises NotFound once the build is over."""
        if not is_safe_id(ref):
            raise InvalidInput(f"invalid build id: {ref[:100]!r}")
        self._tracer.of_build(ref)
        await self.registered(ref)
        recording = self._recordings.get(ref)
        if recording is not None and recording.ended:
            raise NotFound(f"no such job {ref}")
        with self._within(ref) as scope:
            try:
                async with scope:
                    return await self._ask_solver(ref, message)
            except TimeoutError:
                raise NotFound(f"no such job {ref}") from None

    async def _ask_solver(self, ref: str, message: Any) -> Any:
        """Bridge calls may be repeated: a solver that takes the build over knows what the client has been given."""
        for _ in range(TAKEN_OVER):
            try:
                return await self._calls.call(subjects.build_bridge(ref), message)
            except CallLost as error:
                self._log.warning("the solver of a build is gone; waiting for another one", build=ref, error=error)
        return await self._calls.call(subjects.build_bridge(ref), message)

    @contextmanager
    def _within(self, ref: str) -> Iterator[asyncio.Timeout]:
        scope = asyncio.timeout(None)
        running = self._running.get(ref)
        if running is not None:
            running.scopes.add(scope)
        try:
            yield scope
        finally:
            if running is not None:
                running.scopes.discard(scope)

    async def _active(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await self._bus.bucket(subjects.KV_BUILDS, ttl=ACTIVE_TTL)
        return self._bucket

    def _decode(self, value: bytes) -> ActiveBuild | None:
        try:
            found = self._codec.decode(value).body
        except InvalidInput:
            return None
        return found if isinstance(found, ActiveBuild) else None

    def statistics(self) -> dict[str, int]:
        """Builds held here."""
        return {"running": len(self._running)}


def _results(done: SolveDone) -> dict[int, Blob]:
    """Root descriptors by exporter index."""
    found: dict[int, Blob] = {}
    for index, text in enumerate(done.descriptors.get("", ())):
        if text:
            descriptor = json.loads(text)
            found[index] = Blob(
                media_type=descriptor.get("mediaType", ""),
                digest=descriptor.get("digest", ""),
                size=descriptor.get("size", 0),
                annotations=descriptor.get("annotations") or {},
            )
    return found
