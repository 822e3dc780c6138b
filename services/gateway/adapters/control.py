"""moby.buildkit.v1.Control for clients: thin, every decision is elsewhere (behaviour: BuildKit control/control.go)."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import DecodeError

from services.gateway.adapters.builds import Builds
from services.gateway.adapters.fleet import Fleet, full_record
from services.gateway.adapters.history import Change, History, Kind, Question
from services.gateway.adapters.history_codec import record_message
from services.gateway.adapters.solve_codec import read_solve_request
from services.gateway.adapters.status_codec import timestamp
from services.gateway.core.solve_request import canonical
from shared.bus.calls import Calls
from shared.errors import BuildmeshError, InvalidInput
from shared.model import is_safe_id
from shared.model.syntax import DOCKERFILE_VERSION
from shared.pb import control_pb2 as pb
from shared.pb import worker_pb2
from shared.rpc import Call, Handler, server_stream, unary
from shared.run.clock import Clock
from shared.wire import subjects
from shared.wire.cache import DiskUsage, Prune, PrunedBatch
from shared.wire.execute import UsageRecord

SERVICE = "/moby.buildkit.v1.Control/"
JOB_WITHIN = 6.0
"""Seconds that Status waits for a build which has not been solved yet (BuildKit solver/jobs.go)."""

PACKAGE = "github.com/moby/buildkit"
_KINDS = {Kind.STARTED: pb.STARTED, Kind.COMPLETE: pb.COMPLETE, Kind.DELETED: pb.DELETED}


class Control:
    """The servicer. `entitlements` are those that builds may be granted, `version` is what Info tells."""

    def __init__(
        self,
        *,
        builds: Builds,
        history: History,
        fleet: Fleet,
        calls: Calls,
        clock: Clock,
        entitlements: Collection[str],
        version: str,
        revision: str,
    ) -> None:
        self._builds, self._history, self._fleet, self._calls, self._clock = builds, history, fleet, calls, clock
        self._entitlements = entitlements
        self._version = worker_pb2.BuildkitVersion(package=PACKAGE, version=version, revision=revision)

    def routes(self) -> Mapping[str, Handler]:
        """All methods but Session."""
        return {
            SERVICE + "Solve": unary(self.solve, pb.SolveRequest),
            SERVICE + "Status": self.status,
            SERVICE + "Info": unary(self.info, pb.InfoRequest),
            SERVICE + "ListWorkers": unary(self.list_workers, pb.ListWorkersRequest),
            SERVICE + "DiskUsage": unary(self.disk_usage, pb.DiskUsageRequest),
            SERVICE + "Prune": server_stream(self.prune, pb.PruneRequest),
            SERVICE + "ListenBuildHistory": server_stream(self.listen_build_history, pb.BuildHistoryRequest),
            SERVICE + "UpdateBuildHistory": unary(self.update_build_history, pb.UpdateBuildHistoryRequest),
        }

    async def solve(self, request: pb.SolveRequest, call: Call) -> pb.SolveResponse:
        """Blocks for the whole build; a client that leaves cancels it."""
        try:
            wanted = canonical(read_solve_request(request), allowed_entitlements=self._entitlements)
        except BuildmeshError:
            self._builds.refuse(request.Ref)
            raise
        response = await self._builds.solve(wanted, identity=call.peer.common_name)
        return pb.SolveResponse(ExporterResponse=response)

    async def status(self, call: Call) -> None:
        """Raw, so that a batch goes out as one write."""
        try:
            request = pb.StatusRequest.FromString(await call.recv_one())
        except DecodeError:
            raise InvalidInput("request is not a StatusRequest") from None
        self._send_timestamp(call)
        progress = await self._builds.progress(request.Ref, wait=JOB_WITHIN)
        async for batch in progress.messages():
            await call.send_all(batch)

    async def info(self, request: pb.InfoRequest, call: Call) -> pb.InfoResponse:
        """What we are compatible with (docs/adr/0005)."""
        version = worker_pb2.BuildkitVersion()
        version.CopyFrom(self._version)
        version.dockerfileVersion = DOCKERFILE_VERSION
        return pb.InfoResponse(buildkitVersion=version)

    async def list_workers(self, request: pb.ListWorkersRequest, call: Call) -> pb.ListWorkersResponse:
        """The first record is the default worker."""
        workers = await self._fleet.workers(request.filter)
        return pb.ListWorkersResponse(record=[full_record(w, self._version) for w in workers])

    async def disk_usage(self, request: pb.DiskUsageRequest, call: Call) -> pb.DiskUsageResponse:
        """All records in one message."""
        report = await self._calls.call(subjects.CACHE, DiskUsage(filters=tuple(request.filter), age_limit=request.ageLimit))
        return pb.DiskUsageResponse(record=[_usage(r) for r in report.records])

    async def prune(self, request: pb.PruneRequest, call: Call) -> AsyncIterator[pb.UsageRecord]:
        """Each record as soon as it is gone."""
        order = Prune(
            filters=tuple(request.filter),
            all=request.all,
            keep_duration=request.keepDuration,
            reserved_space=request.reservedSpace,
            max_used_space=request.maxUsedSpace,
            min_free_space=request.minFreeSpace,
        )
        gone: asyncio.Queue[PrunedBatch | BuildmeshError | None] = asyncio.Queue()  # bounded by what the cachestore knows
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._prune(order, gone))
            while isinstance(batch := await gone.get(), PrunedBatch):
                for record in batch.records:
                    yield _usage(record)
        if batch is not None:
            raise batch

    async def _prune(self, order: Prune, gone: "asyncio.Queue[PrunedBatch | BuildmeshError | None]") -> None:
        try:
            await self._calls.call(subjects.CACHE, order, on_progress=gone.put_nowait)
        except BuildmeshError as error:
            gone.put_nowait(error)
        else:
            gone.put_nowait(None)

    async def listen_build_history(self, request: pb.BuildHistoryRequest, call: Call) -> AsyncIterator[pb.BuildHistoryEvent]:
        """Ends by itself only with EarlyExit."""
        self._send_timestamp(call)
        question = Question(
            ref=request.Ref,
            active_only=request.ActiveOnly,
            early_exit=request.EarlyExit,
            filters=tuple(request.Filter),
            limit=request.Limit,
        )
        async for change in self._history.listen(question, self._builds.active_records):
            yield _event(change)

    async def update_build_history(self, request: pb.UpdateBuildHistoryRequest, call: Call) -> pb.UpdateBuildHistoryResponse:
        """Delete, finalize (wait until the trace is stored) or pin."""
        if not is_safe_id(request.Ref):
            raise InvalidInput(f"invalid build ref: {request.Ref[:100]!r}")
        if request.Delete or request.Finalize:
            await self._builds.finalize(request.Ref)
        if request.Delete:
            await self._history.delete(request.Ref)
        elif not request.Finalize:
            await self._history.pin(request.Ref, pinned=request.Pinned)
        return pb.UpdateBuildHistoryResponse()

    def _send_timestamp(self, call: Call) -> None:
        call.send_initial_metadata([("buildkit-current-timestamp", rfc3339(self._clock.now_ns()))])


def rfc3339(ns: int) -> str:
    """As Go's RFC3339Nano in UTC, `2026-01-02T03:04:05.000000006Z`."""
    moment = datetime.fromtimestamp(ns // 10**9, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09d}Z"


def _event(change: Change) -> pb.BuildHistoryEvent:
    kind, record = change
    return pb.BuildHistoryEvent(type=_KINDS[kind], record=record_message(record))


def _usage(record: UsageRecord) -> Any:
    return pb.UsageRecord(
        ID=record.id,
        Mutable=record.mutable,
        InUse=record.in_use,
        Size=record.size,
        Parents=record.parents,
        CreatedAt=timestamp(record.created_at or 1),
        LastUsedAt=timestamp(record.last_used_at),
        UsageCount=record.usage_count,
        Description=record.description,
        RecordType=record.record_type,
        Shared=record.shared,
    )
