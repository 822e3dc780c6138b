"""Layers and trees, asked of the executors that hold the data."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.exporter.adapters.relay import Relay
from services.exporter.core.options import Options
from shared.bus.calls import Calls
from shared.errors import CallLost, RefLost
from shared.model import Digest, Layer, Ref
from shared.wire import subjects
from shared.wire.messages import Compression, FileDigests, FileLayers, FileLayersFound, FilesDigested, Pack, Packed, Scope, SendTrees, Sent

ABSENT = 1.5  # seconds that the bus may say that nobody listens at a home


class ExecutorLayers:
    """`Layers` over the bus, on behalf of one build."""

    def __init__(self, calls: Calls, scope: Scope, relay: Relay) -> None:
        self._calls = calls
        self._scope = scope
        self._relay = relay

    async def pack(self, ref: Ref, options: Options, *, rewrite_epoch: int = -1, base_layers: int = 0) -> tuple[Layer, ...]:
        """The home packs; a ref without a home is packed (fetched) by any executor. Raises RefLost."""
        request = Pack(
            ref=ref,
            compression=Compression(type=options.compression, level=options.compression_level, force=options.force_compression),
            scope=self._scope,
            rewrite_epoch=rewrite_epoch,
            base_layers=base_layers,
        )
        try:
            answer: Packed = await self._calls.call(home_subject(ref), request, on_progress=self._relay, absent=ABSENT)
        except CallLost:  # its home is gone: another executor has it from what was published, or says that it is lost
            answer = await self._calls.call(subjects.EXECUTOR, request, on_progress=self._relay)
        return answer.layers

    async def of_files(self, layers: Sequence[Layer], paths: Sequence[str], vertex: Digest) -> Mapping[str, Digest]:
        """Any executor can tell: the layers are in the blob store."""
        request = FileLayers(layers=tuple(layers), paths=tuple(paths), vertex=vertex, scope=self._scope)
        answer: FileLayersFound = await self._calls.call(subjects.EXECUTOR, request, on_progress=self._relay)
        return answer.layers


async def file_digests(calls: Calls, ref: Ref, vertex: Digest, scope: Scope, relay: Relay) -> dict[str, Digest]:
    """What the regular files of a tree are, by path. Raises RefLost."""
    answer: FilesDigested = await calls.call(home_subject(ref), FileDigests(ref=ref, vertex=vertex, scope=scope), on_progress=relay)
    return dict(answer.digests)


async def send_trees(calls: Calls, request: SendTrees, relay: Relay) -> Sent:
    """Have the executor that holds the (first) tree send all of them to the client.

    When it is gone another one does; files that the client has already may come again, an archive may not.
    """
    refs = [t.ref for t in request.trees if t.ref is not None]
    begun = False

    def heard(message: Any) -> None:
        nonlocal begun
        begun = True
        relay(message)

    try:
        answer: Sent = await calls.call(_common_home(refs), request, on_progress=heard, absent=ABSENT)
    except CallLost:
        if begun and request.kind != "local":
            raise
        answer = await calls.call(subjects.EXECUTOR, request, on_progress=relay)
    return answer


def home_subject(ref: Ref) -> str:
    """Where a ref can be worked on. Raises RefLost for a ref that nobody holds and that has no layers."""
    if ref.home:
        return subjects.executor_call(ref.home)
    if ref.layers:
        return subjects.EXECUTOR
    raise RefLost(ref.id)


def _common_home(refs: Sequence[Ref]) -> str:
    homed = next((r for r in refs if r.home), None)
    return home_subject(homed) if homed is not None else subjects.EXECUTOR
