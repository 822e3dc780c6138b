"""Frontends, exporters, the event log and leases over the bus."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from services.solver.core.vertex import Digest
from services.solver.ports import ExportScope, Heard
from shared.bus.calls import Calls
from shared.bus.ports import Bus
from shared.errors import BuildmeshError, Unavailable
from shared.model import CacheEntry
from shared.model import Digest as ContentDigest
from shared.telemetry import Log
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.messages import (
    BridgeResult,
    BuildEvents,
    CacheImported,
    CheckExport,
    ExportCache,
    ExportChecked,
    ExportDone,
    ExportResult,
    FinalizeExport,
    ImportCache,
    LeaseReleased,
    LeaseRenew,
    RunExport,
    RunFrontend,
    Scope,
    TaskProgress,
    TypedAttrs,
)


class FrontendCalls:
    """Frontends over calls."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def run(self, request: RunFrontend) -> BridgeResult:
        """Its result; the refs in it are the build's."""
        answer = await self._calls.call(subjects.FRONTEND, request)
        assert isinstance(answer, BridgeResult)
        return answer


class ExporterCalls:
    """Exports over calls."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def check(self, exporter: TypedAttrs) -> str:
        """The name of the exporter's vertex."""
        answer = await self._calls.call(subjects.EXPORTER, CheckExport(exporter=exporter))
        assert isinstance(answer, ExportChecked)
        return answer.name

    async def export(
        self,
        exporter: TypedAttrs,
        index: int,
        vertex: Digest,
        result: ExportResult,
        where: ExportScope,
        heard: Heard,
        inline_cache: Mapping[str, tuple[CacheEntry, ...]],
    ) -> ExportDone:
        """One output."""
        request = RunExport(
            exporter=exporter,
            index=index,
            vertex=ContentDigest(vertex),
            result=result,
            platform=where.platform,
            session=where.session,
            scope=where.scope,
            compatibility_version=where.compatibility_version,
            inline_cache=inline_cache,
        )
        answer = await self._calls.call(subjects.EXPORTER, request, on_progress=_relay(heard))
        assert isinstance(answer, ExportDone)
        return answer

    async def export_cache(
        self, option: TypedAttrs, entries: Sequence[CacheEntry], vertex: Digest, where: ExportScope, heard: Heard
    ) -> ExportDone:
        """One cache."""
        request = ExportCache(option=option, entries=tuple(entries), vertex=ContentDigest(vertex), session=where.session, scope=where.scope)
        answer = await self._calls.call(subjects.EXPORTER, request, on_progress=_relay(heard))
        assert isinstance(answer, ExportDone)
        return answer

    async def import_cache(self, option: TypedAttrs, vertex: Digest, session: str, scope: Scope, heard: Heard) -> tuple[CacheEntry, ...]:
        """What somebody exported."""
        request = ImportCache(option=option, vertex=ContentDigest(vertex), session=session, scope=scope)
        answer = await self._calls.call(subjects.EXPORTER, request, on_progress=_relay(heard))
        assert isinstance(answer, CacheImported)
        return answer.entries

    async def finalize(self, order: bytes, vertex: Digest, where: ExportScope, heard: Heard) -> None:
        """Push."""
        request = FinalizeExport(finalize=order, vertex=ContentDigest(vertex), session=where.session, scope=where.scope)
        await self._calls.call(subjects.EXPORTER, request, on_progress=_relay(heard))


def _relay(heard: Heard) -> Callable[[Any], None]:
    def take(message: Any) -> None:
        if isinstance(message, TaskProgress):
            heard(message.statuses, message.logs)

    return take


class BusJournal:
    """The event log of builds."""

    def __init__(self, bus: Bus, log: Log) -> None:
        self._bus = bus
        self._log = log
        self._codec = Codec()

    async def append(self, build: str, events: BuildEvents) -> None:
        """Publish; a bus that is away costs the progress, not the build."""
        try:
            await self._bus.append(subjects.build_events(build), self._codec.encode(events))
        except BuildmeshError as error:
            self._log.warning("progress of a build is lost", build=build, error=str(error))


class BusLeases:
    """Leases by broadcast."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._codec = Codec()

    async def renew(self, leases: Sequence[str]) -> None:
        """These builds still run. A renewal that can't be said now is said at the next turn: leases live for six of them."""
        await self._say(LeaseRenew(leases=tuple(leases)))

    async def release(self, lease: str) -> None:
        """This build ended. Unsaid, its lease ends by itself."""
        await self._say(LeaseReleased(lease=lease))

    async def _say(self, message: LeaseRenew | LeaseReleased) -> None:
        with suppress(Unavailable):
            await self._bus.publish(subjects.LEASES, self._codec.encode(message))
