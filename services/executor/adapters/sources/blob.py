"""One blob of a registry or of a client's OCI layout as a file (BuildKit source/containerblob)."""

import os
import posixpath
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from services.executor.adapters.claims import claimed
from services.executor.adapters.sources.image_store import Origins
from services.executor.core.image_keys import source_key
from services.executor.core.source_ids import BlobSource, Source
from services.executor.ports import Reporter, SnapshotStore
from shared.blobs.ports import Blobs
from shared.blobs.threads import Pool
from shared.errors import InvalidInput
from shared.model import Digest, Ref, sha256_digest
from shared.oci import go_json
from shared.wire.messages import ResolveSource, RunOp, SourceResolved

_CHUNK = 1 << 20


class BlobDriver:
    """`docker-image+blob://` and `oci-layout+blob://`. `home` is this executor's id."""

    def __init__(self, *, home: str, origins: Origins, blobs: Blobs, store: SnapshotStore, threads: Pool) -> None:
        self._home, self._origins, self._blobs, self._store, self._threads = home, origins, blobs, store, threads

    async def resolve(self, source: Source, request: ResolveSource, report: Reporter) -> SourceResolved:
        """The digest says all; nothing is fetched. Raises InvalidInput for a layout without a store."""
        assert isinstance(source, BlobSource)
        digest = _digest(source)
        value = {"Digest": digest, "Filename": _safe(source.filename), "Perm": source.perm, "UID": source.uid, "GID": source.gid}
        return SourceResolved(keys=(source_key(sha256_digest(go_json(value))),), pin=digest, executor=self._home)

    @asynccontextmanager
    async def file(self, source: BlobSource, sessions: Sequence[str], report: Reporter) -> AsyncIterator[Path]:
        """The blob, verified, as a file that is there while the context is open."""
        digest = _digest(source)
        await self._have(source, digest, sessions, report)
        async with self._blobs.open(digest) as reader:
            path = reader.local_path()
            if path is not None:
                yield path
                return
            with tempfile.TemporaryFile() as copy:  # without a name: nothing is left when this process is killed
                async for chunk in reader.chunks(chunk_size=_CHUNK):
                    await self._threads.finish(copy.write, chunk)
                copy.flush()
                yield Path(f"/proc/{os.getpid()}/fd/{copy.fileno()}")

    async def _have(self, source: BlobSource, digest: Digest, sessions: Sequence[str], report: Reporter) -> None:
        if await self._blobs.find_missing([digest]):
            await self._blobs.put(self._download(source, digest, sessions, report), digest=digest)

    async def make(self, source: Source, request: RunOp, report: Reporter) -> Ref | None:
        """One file in an empty tree; the blob is verified and kept in the blob store."""
        assert isinstance(source, BlobSource)
        digest = _digest(source)
        await self._have(source, digest, request.scope.sessions, report)
        made = await claimed(
            self._threads, self._store, self._store.prepare, None, description=f"blob {source.reference}", lease=request.scope.lease
        )
        try:
            async with self._blobs.open(digest) as reader:
                chunks = reader.chunks(chunk_size=_CHUNK)
                with self._store.mount(made.id, writable=True) as root:
                    await self._write(Path(root) / (_safe(source.filename) or digest.partition(":")[2]), source, chunks)
            done = await self._threads.finish(self._store.commit, made.id)
        except BaseException:
            self._store.unclaim(made.id)
            raise
        return Ref(id=done.id, home=self._home)

    async def _download(self, source: BlobSource, digest: Digest, sessions: Sequence[str], report: Reporter) -> AsyncIterator[bytes]:
        origin = self._origins.of(source, sessions, lambda text: report.log(2, text.encode() + b"\n"))
        done = 0
        report.status(digest)
        async for chunk in origin.blob(digest, -1):
            done += len(chunk)
            yield chunk
        report.status(digest, current=done, total=done, done=True)

    async def _write(self, path: Path, source: BlobSource, chunks: AsyncIterator[bytes]) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            async for chunk in chunks:
                await self._threads.finish(file.write, chunk)
            os.fchown(file.fileno(), source.uid, source.gid)
            os.fchmod(file.fileno(), source.perm or 0o600)
            os.utime(file.fileno(), ns=(0, 0))


def _digest(source: BlobSource) -> Digest:
    if source.oci_layout and not source.store:
        raise InvalidInput("oci-layout blob source requires store id")
    assert source.reference.digest is not None, "parse_source sees to it"
    return source.reference.digest


def _safe(name: str) -> str:
    """The last element of a path, `download` for what is no name; empty stays empty (source/util/pathutil SafeFileName)."""
    if not name:
        return ""
    base = posixpath.basename(name.strip().rstrip("/"))
    return "download" if base in ("", ".", "..") or any(ord(c) < 32 or ord(c) == 127 for c in base) else base
