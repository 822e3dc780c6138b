"""Layers of local snapshots as blobs: difference → tar → compression → blob store, diff id and digest taken on the way.

What was packed once is noted with the layer's snapshot and used again (BuildKit cache/blobs.go, cache/remote.go).
"""

import asyncio
import contextlib
import hashlib
import os
import queue
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from services.executor.adapters.layer_changes import Change, ChangeKind, overlay_changes, tree_changes
from services.executor.adapters.layer_compression import compressor, decompress
from services.executor.adapters.layer_notes import LAYER_NOTE, TRANSPORT_NOTE, decode_layer, encode_layer
from services.executor.adapters.layer_tar import layer_tar
from services.executor.adapters.sources.layer_fetch import LayerFetch
from services.executor.adapters.turns import Turns
from services.executor.core.snapshots import Layer as DiskLayer
from services.executor.core.snapshots import LayerStyle
from services.executor.ports import Reporter, SnapshotStore
from shared.blobs.ports import Blobs
from shared.blobs.threads import Pool
from shared.errors import BlobMissing, BuildmeshError, Internal, InvalidInput, first_failure
from shared.model import Digest, Layer
from shared.oci import Compression, layer_compression, layer_media_type
from shared.wire.messages import Pack, Scope

_PIECE = 1 << 20
REMEMBERED = 20_000
_Make: TypeAlias = Callable[[], Iterable[bytes | memoryview]]
"""Opens the tar; called in the thread that reads it."""


class NotMadeYet(BuildmeshError):
    """A blob would have to be made, which the caller did not want."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """How a layer shall be compressed; `epoch` ≥ 0 = no time in it is later than that (seconds)."""

    kind: Compression
    level: int
    force: bool
    epoch: int = -1
    only_known: bool = False
    transport: bool = False

    @property
    def note(self) -> str:
        """Where a blob made just so is noted."""
        if self.transport:
            return TRANSPORT_NOTE
        return f"{LAYER_NOTE}.{self.kind}.{self.level}.{self.epoch}"


class LayerPacker:
    """`scratch` is a folder on the file system of the blob store if that is local (blobs are renamed into it)."""

    def __init__(self, *, store: SnapshotStore, blobs: Blobs, fetch: LayerFetch, threads: Pool, scratch: Path) -> None:
        self._store, self._blobs, self._fetch, self._threads = store, blobs, fetch, threads
        self._scratch = scratch
        self._turns: Turns[str] = Turns()
        self._moved: dict[str, Layer] = {}  # transport blobs by snapshot
        scratch.mkdir(parents=True, exist_ok=True)
        for leftover in scratch.iterdir():
            leftover.unlink(missing_ok=True)

    async def pack(self, id: str, request: Pack, report: Reporter) -> tuple[Layer, ...]:
        """Every layer of snapshot `id`, base first, its blob in the store. Raises InvalidInput, Unsupported, RefLost, NotMadeYet."""
        try:
            kind = Compression(request.compression.type)
        except ValueError:
            raise InvalidInput(f"unsupported compression type {request.compression.type[:40]!r}") from None
        compressor(kind, request.compression.level)  # complain before any work
        layers = await self._threads.do(self._store.layers, id)
        packed: dict[str, asyncio.Task[Layer]] = {}
        known = {layer.id: found for layer in layers if request.transport and (found := self._moved.get(layer.id)) is not None}
        try:
            async with asyncio.TaskGroup() as tasks:
                for index, layer in enumerate(layers):
                    if layer.id in known:
                        continue
                    epoch = request.rewrite_epoch if index >= request.base_layers else -1
                    wanted = _Wanted(
                        kind=kind,
                        level=request.compression.level,
                        force=request.compression.force,
                        epoch=epoch,
                        only_known=request.only_known,
                        transport=request.transport,
                    )
                    packed[layer.id] = tasks.create_task(self._one(layer, wanted, request.scope, report))
        except BaseExceptionGroup as group:
            error = first_failure(group)
            if isinstance(error, OSError):
                raise Internal(f"can't pack the layers of snapshot {id}: {error}") from group
            raise error from None
        made = {id: task.result() for id, task in packed.items()}
        if request.transport:
            self._remember(made)
        return tuple(known.get(layer.id) or made[layer.id] for layer in layers)

    def _remember(self, made: Mapping[str, Layer]) -> None:
        """Each result of a chain is packed after the one below it: what lies below is not looked at again each time."""
        self._moved |= made
        while len(self._moved) > REMEMBERED:
            del self._moved[next(iter(self._moved))]

    def statistics(self) -> dict[str, int]:
        """Layers being packed now."""
        return {"packing": self._turns.statistics()["keys"]}

    async def _one(self, layer: DiskLayer, wanted: _Wanted, scope: Scope, report: Reporter) -> Layer:
        async with self._turns.alone(layer.id):  # the second finds the first one's note
            for name in (wanted.note, LAYER_NOTE):
                known = self._noted(layer.id, name)
                if known is None or (name == LAYER_NOTE and not _serves(known, wanted)):
                    continue
                if await self._here(known, scope, report):
                    return known
            if wanted.only_known:
                raise NotMadeYet(layer.id)
            for name in (LAYER_NOTE, TRANSPORT_NOTE) if wanted.epoch < 0 else ():
                source = self._noted(layer.id, name)
                if source is not None and await self._here(source, scope, report):
                    return await self._convert(layer.id, source, wanted)
            return await self._fresh(layer, wanted)

    async def _here(self, layer: Layer, scope: Scope, report: Reporter) -> bool:
        try:
            await self._fetch.ensure(layer, scope, report)
        except BlobMissing:
            return False
        return True

    async def _fresh(self, disk: DiskLayer, wanted: _Wanted) -> Layer:
        record = self._store.get(disk.id)
        digest, diff_id, size = await self._write(lambda: _tar_of(disk, wanted.epoch), wanted)
        layer = Layer(
            digest=digest,
            diff_id=diff_id,
            size=size,
            media_type=layer_media_type(wanted.kind, oci=True),
            created_at=int(record.created * 1_000_000_000),
            description=record.description,
            transport=wanted.transport,
        )
        self._note(disk.id, layer, wanted)
        return layer

    async def _convert(self, id: str, source: Layer, wanted: _Wanted) -> Layer:
        """The same tar, compressed otherwise."""
        async with self._blobs.open(source.digest) as reader:
            path = reader.local_path()
            if path is not None:
                digest, diff_id, size = await self._write(lambda: decompress(_file_pieces(path)), wanted)
            else:
                with tempfile.NamedTemporaryFile(dir=self._scratch) as copy:
                    async for chunk in reader.chunks():
                        await self._threads.finish(copy.write, chunk)
                    copy.flush()
                    digest, diff_id, size = await self._write(lambda: decompress(_file_pieces(Path(copy.name))), wanted)
        if diff_id != source.diff_id:
            raise BlobMissing(source.digest, f"layer {source.digest} holds {diff_id} instead of {source.diff_id}")
        layer = Layer(
            digest=digest,
            diff_id=diff_id,
            size=size,
            media_type=layer_media_type(wanted.kind, oci=True),
            created_at=source.created_at,
            description=source.description,
        )
        self._note(id, layer, wanted)
        return layer

    async def _write(self, make: _Make, wanted: _Wanted) -> tuple[Digest, Digest, int]:
        path, digest, diff_id, size = await self._threads.do(_write_blob, make, wanted.kind, wanted.level, self._scratch)
        try:
            await self._blobs.put_file(path, digest=digest, move=True)
        finally:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        return digest, diff_id, size

    def _noted(self, id: str, name: str) -> Layer | None:
        value = self._store.note(id, name)
        try:
            return None if value is None else decode_layer(value)
        except (ValueError, TypeError):
            return None

    def _note(self, id: str, layer: Layer, wanted: _Wanted) -> None:
        encoded = encode_layer(layer)
        self._store.set_note(id, wanted.note, encoded)
        if wanted.epoch < 0 and not wanted.transport and self._store.note(id, LAYER_NOTE) is None:
            self._store.set_note(id, LAYER_NOTE, encoded)


def _serves(layer: Layer, wanted: _Wanted) -> bool:
    """Whether the layer's first blob will do: any compression unless one is forced, no time rewriting."""
    if wanted.epoch >= 0:
        return False
    try:
        return not wanted.force or layer_compression(layer.media_type) is wanted.kind
    except ValueError:
        return False


def _tar_of(disk: DiskLayer, epoch: int) -> Iterator[bytes | memoryview]:
    overlay = disk.style is LayerStyle.OVERLAY
    changes = overlay_changes(disk.path, disk.lowers) if overlay else tree_changes(disk.lowers[:1], (disk.path,))

    def parent(path: str) -> Change:
        source = f"{disk.path}/{path}"
        return Change(ChangeKind.MODIFY, path, os.lstat(source), source)

    return layer_tar(changes, parent, latest=epoch if epoch >= 0 else None)


def _write_blob(make: _Make, kind: Compression, level: int, scratch: Path) -> tuple[Path, Digest, Digest, int]:
    """Reads and hashes here, compresses and writes in a second thread: both let go of the interpreter lock for most of the time."""
    fd, name = tempfile.mkstemp(dir=scratch)
    path = Path(name)
    try:
        with os.fdopen(fd, "wb", buffering=0) as out:
            sink = _Sink(out.fileno(), kind, level)
            diff = hashlib.sha256()
            try:
                for piece in make():
                    if piece:
                        diff.update(piece)
                        sink.put(piece)
            finally:
                digest, size = sink.finish()
            if sink.error is not None:
                raise sink.error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    diff_id = Digest("sha256:" + diff.hexdigest())
    return path, digest if kind is not Compression.UNCOMPRESSED else diff_id, diff_id, size


class _Sink:
    """The writing side: a bounded queue into one thread."""

    def __init__(self, fd: int, kind: Compression, level: int) -> None:
        self._fd = fd
        self._compressor = compressor(kind, level)
        self._hash = hashlib.sha256()
        self._size = 0
        self._queue: queue.Queue[bytes | memoryview | None] = queue.Queue(maxsize=8)
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="pack-compress")
        self._thread.start()

    def put(self, piece: bytes | memoryview) -> None:
        if self.error is not None:
            raise self.error
        self._queue.put(piece)

    def finish(self) -> tuple[Digest, int]:
        self._queue.put(None)
        self._thread.join()
        return Digest("sha256:" + self._hash.hexdigest()), self._size

    def _run(self) -> None:
        while (piece := self._queue.get()) is not None:
            self._guarded(self._compressor.compress, piece)
        self._guarded(self._compressor.flush)

    def _guarded(self, make: Callable[..., bytes], *args: bytes | memoryview) -> None:
        if self.error is not None:
            return
        try:
            data = memoryview(make(*args))
            self._hash.update(data)
            self._size += len(data)
            while data:
                data = data[os.write(self._fd, data) :]
        except Exception as e:
            self.error = e


def _file_pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
