"""Wires the exporter: calls on `call.exporter`."""

from services.exporter.adapters.blob_source import StoreBlobs
from services.exporter.adapters.client_files import SessionFiles
from services.exporter.adapters.executors import ExecutorLayers, Relay
from services.exporter.adapters.image_export import ImageExport
from services.exporter.adapters.progress import CallProgress
from services.exporter.adapters.registry_push import push_everywhere
from services.exporter.adapters.tree_export import export_trees
from services.exporter.config import ExporterConfig
from services.exporter.core.options import VERTEX_NAME, Kind, parse_options
from services.exporter.core.push_order import decode_push
from shared.bus.calls import Calls, Served
from shared.run.mesh import Mesh
from shared.wire import subjects
from shared.wire.messages import CheckExport, Done, ExportChecked, ExportDone, FinalizeExport, RunExport

__all__ = ["run"]


class Exporter:
    """Handlers of the exporter's calls."""

    def __init__(self, config: ExporterConfig, mesh: Mesh) -> None:
        self._config = config
        self._mesh = mesh

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
        async with _relayed(served) as relay:
            if options.kind in (Kind.LOCAL, Kind.TAR):
                return await export_trees(self._calls, request, options, relay)
            image = ImageExport(
                layers=ExecutorLayers(self._calls, request.scope, relay),
                blobs=StoreBlobs(self._mesh.blobs),
                client=SessionFiles(self._mesh.sessions, request.session),
                progress=CallProgress(served, request.vertex),
            )
            return await image.run(request, options)

    async def finalize(self, request: FinalizeExport, served: Served) -> Done:
        """Push."""
        progress = CallProgress(served, request.vertex)
        await push_everywhere(decode_push(request.finalize), self._mesh, request.session, progress)
        return Done()


async def run(config: ExporterConfig, mesh: Mesh) -> None:
    """Serve until cancelled or drained."""
    exporter = Exporter(config, mesh)
    await mesh.calls.serve(
        subjects.EXPORTER,
        {CheckExport: exporter.check, RunExport: exporter.export, FinalizeExport: exporter.finalize},
        queue="exporter",
    )
