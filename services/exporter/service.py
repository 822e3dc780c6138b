"""Wires the exporter: calls on `call.exporter`."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.exporter.adapters.attestation_reader import AttestationReader
from services.exporter.adapters.blob_source import StoreBlobs
from services.exporter.adapters.cache_export import CacheExport
from services.exporter.adapters.cache_import import import_cache
from services.exporter.adapters.client_files import SessionFiles
from services.exporter.adapters.executors import ExecutorLayers
from services.exporter.adapters.image_export import ImageExport
from services.exporter.adapters.progress import CallProgress
from services.exporter.adapters.registry_push import RegistryPush
from services.exporter.adapters.relay import relayed
from services.exporter.adapters.tree_export import export_trees
from services.exporter.config import ExporterConfig
from services.exporter.core.options import VERTEX_NAME, Kind, parse_options
from services.exporter.core.push_order import decode_push
from shared.bus.calls import Calls, Served
from shared.registry.client import Asker, HttpPool
from shared.registry.pull import Puller
from shared.run.mesh import BLOBS, Mesh
from shared.session.credentials import SessionCredentials
from shared.telemetry import names
from shared.wire import subjects
from shared.wire.messages import (
    CacheImported,
    CheckExport,
    Done,
    ExportCache,
    ExportChecked,
    ExportDone,
    FinalizeExport,
    ImportCache,
    RunExport,
)

__all__ = ["run"]


class Exporter:
    """Handlers of the exporter's calls."""

    def __init__(self, config: ExporterConfig, mesh: Mesh, pool: HttpPool) -> None:
        self._config = config
        self._mesh = mesh
        self._pool = pool
        self._seconds = mesh.metrics.histogram(names.EXPORT_SECONDS)

    @property
    def _calls(self) -> Calls:
        return self._mesh.calls

    def check(self, request: CheckExport, served: Served) -> ExportChecked:
        """Before the build starts: are the attributes usable?"""
        options = parse_options(request.exporter.type, request.exporter.attrs)
        return ExportChecked(name=VERTEX_NAME[options.kind])

    async def export(self, request: RunExport, served: Served) -> ExportDone:
        """One output."""
        options = parse_options(request.exporter.type, request.exporter.attrs)
        async with self._measured(options.kind.value), relayed(served) as relay:
            if options.kind in (Kind.LOCAL, Kind.TAR):
                return await export_trees(self._calls, request, options, relay)
            image = ImageExport(
                layers=ExecutorLayers(self._calls, request.scope, relay),
                blobs=StoreBlobs(self._mesh.blobs),
                client=SessionFiles(self._mesh.sessions, request.session, request.scope.lease),
                progress=CallProgress(served, request.vertex),
                attestations=AttestationReader(self._calls, request.scope),
            )
            return await image.run(request, options)

    @asynccontextmanager
    async def _measured(self, kind: str) -> AsyncIterator[None]:
        began = time.monotonic()
        yield
        self._seconds.observe(time.monotonic() - began, kind)

    async def finalize(self, request: FinalizeExport, served: Served) -> Done:
        """Push."""
        push = self._push(request.session, CallProgress(served, request.vertex))
        await push.run(decode_push(request.finalize))
        return Done()

    async def export_cache(self, request: ExportCache, served: Served) -> ExportDone:
        """A cache to a registry or to the client."""
        progress = CallProgress(served, request.vertex)
        push = self._push(request.session, progress)
        blobs = StoreBlobs(self._mesh.blobs)
        return await CacheExport(push=push, links=self._mesh.sessions, blobs=blobs, progress=progress).run(request)

    async def import_cache(self, request: ImportCache, served: Served) -> CacheImported:
        """A cache that was exported by us or by BuildKit."""
        asker = Asker(credentials=self._credentials(request.session))
        return await import_cache(request, Puller(self._pool, self._config.registries, asker), self._mesh.sessions)

    def _credentials(self, session: str) -> SessionCredentials:
        return SessionCredentials(self._mesh.sessions, [session])

    def _push(self, session: str, progress: CallProgress) -> RegistryPush:
        return RegistryPush(
            pool=self._pool,
            hosts=self._config.registries,
            credentials=self._credentials(session),
            blobs=StoreBlobs(self._mesh.blobs),
            progress=progress,
        )


async def run(config: ExporterConfig, mesh: Mesh) -> None:
    """Serve until cancelled or drained."""
    pool = HttpPool()
    exporter = Exporter(config, mesh, pool)
    mesh.readiness.expect("exporter")
    try:
        if not mesh.alone and not await mesh.readiness.reached(BLOBS):
            return  # what it took before, it would fail
        await mesh.calls.serve(
            subjects.EXPORTER,
            {
                CheckExport: exporter.check,
                RunExport: exporter.export,
                FinalizeExport: exporter.finalize,
                ExportCache: exporter.export_cache,
                ImportCache: exporter.import_cache,
            },
            queue="exporter",
            ready=lambda: mesh.readiness.up("exporter"),
        )
    finally:
        await pool.close()
