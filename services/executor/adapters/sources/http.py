"""http and https sources. The body is kept in the blob store under its digest; a remembered ETag saves downloading it again."""

import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from services.executor.adapters.claims import claimed
from services.executor.adapters.layer_compression import decompress_stream
from services.executor.adapters.sources.build_memory import BuildMemory
from services.executor.core.http_keys import cache_key, file_name, parse_http_time, url_key
from services.executor.core.image_keys import source_key
from services.executor.core.signatures.openpgp import DetachedSignature, read_keys
from services.executor.core.source_ids import HttpSource, Source
from services.executor.ports import Reporter, SnapshotStore
from shared.blobs.ports import Blobs
from shared.blobs.threads import Pool
from shared.bus.ports import KeyValue
from shared.errors import BuildFailed, BuildmeshError, InvalidInput, NotFound, Unavailable
from shared.model import Digest, Ref, is_digest
from shared.registry.client import HttpPool
from shared.registry.failures import wire_failures
from shared.session.ports import SessionLinks
from shared.session.secrets import get_secret
from shared.session.upload import pull_upload
from shared.wire.messages import ResolveSource, RunOp, Scope, SourceResolved

SESSION_HOST = "buildkit-session"
_CHUNK = 1 << 18
ALGORITHMS = {0: "sha256", 1: "sha384", 2: "sha512"}
"""As gateway.proto numbers them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A downloaded body. `last_modified` seconds, 0 = not told."""

    digest: str
    filename: str
    last_modified: int = 0
    etag: str = ""


class HttpDriver:
    """`remembered` is a bucket for ETags (kept by the executor's index)."""

    def __init__(
        self, *, pool: HttpPool, blobs: Blobs, links: SessionLinks, store: SnapshotStore, threads: Pool, remembered: KeyValue, home: str
    ) -> None:
        self._pool, self._blobs, self._links, self._store = pool, blobs, links, store
        self._threads, self._remembered, self._home = threads, remembered, home
        self._seen: BuildMemory[Fetched] = BuildMemory()

    async def resolve(self, source: Source, request: ResolveSource, report: Reporter) -> SourceResolved:
        """A pinned checksum needs no network; otherwise the body is downloaded now."""
        assert isinstance(source, HttpSource)
        if source.checksum and not request.for_meta and not source.signature:
            fetched = Fetched(digest=source.checksum, filename=file_name(source))
        else:
            fetched = await self._once(source, request.scope, report)
        await self._check_signature(source, fetched)
        wished = await self._wished(source, fetched, request) if request.checksum is not None else ""
        key = cache_key(source, fetched.filename, fetched.digest, 0 if source.checksum else fetched.last_modified)
        return SourceResolved(
            keys=(source_key(key),),
            pin=fetched.digest,
            executor=self._home,
            http_checksum=fetched.digest,
            http_filename=fetched.filename,
            http_last_modified=fetched.last_modified,
            http_wished=wished,
        )

    async def _check_signature(self, source: HttpSource, fetched: Fetched) -> None:
        """Raises BuildFailed unless the body is signed as the source wants it."""
        if not source.signature:
            return
        try:
            signature = DetachedSignature(source.signature)
            keys = await self._threads.do(read_keys, source.public_key)
            async with self._blobs.open(Digest(fetched.digest)) as reader:
                async for chunk in reader.chunks():
                    await self._threads.finish(signature.update, chunk)
            await self._threads.do(lambda: signature.check(keys, now=int(time.time())))
        except BuildFailed as error:
            raise error.prefixed("failed to verify pgp signature") from None

    async def _wished(self, source: HttpSource, fetched: Fetched, request: ResolveSource) -> str:
        """The digest that a policy session wants to see: of the body with something behind it."""
        assert request.checksum is not None
        name = ALGORITHMS.get(request.checksum.algorithm)
        if name is None:
            raise InvalidInput(f"unsupported checksum algorithm {request.checksum.algorithm}")
        digest = hashlib.new(name)
        async with self._blobs.open(Digest(fetched.digest)) as reader:
            async for chunk in reader.chunks():
                await self._threads.finish(digest.update, chunk)
        digest.update(request.checksum.suffix)
        return f"{name}:{digest.hexdigest()}"

    async def make(self, source: Source, request: RunOp, report: Reporter) -> Ref | None:
        """One file in an empty tree."""
        assert isinstance(source, HttpSource)
        known = request.resolved
        if known is not None and is_digest(known.http_checksum):
            fetched = Fetched(digest=known.http_checksum, filename=known.http_filename, last_modified=known.http_last_modified)
        else:
            fetched = await self._once(source, request.scope, report)
            await self._check_signature(source, fetched)
        if self._store.find(_snapshot_key(source, fetched)) is None and await self._blobs.find_missing([Digest(fetched.digest)]):
            fetched = await self._once(source, request.scope, report)
        return Ref(id=await self._snapshot(source, fetched, request.scope.lease), home=self._home)

    async def _snapshot(self, source: HttpSource, fetched: Fetched, lease: str) -> str:
        """The file as a snapshot, held under the lease; found again while it is kept."""
        key = _snapshot_key(source, fetched)
        found = self._store.find(key)
        if found is not None:
            self._store.hold(lease, [found.id])
            return found.id
        made = await claimed(
            self._threads, self._store, self._store.prepare, None, description=f"http url {_redacted(source.url)}", lease=lease
        )
        try:
            await self._write(made.id, source, fetched)
            return (await self._threads.finish(self._store.commit, made.id, key=key)).id
        except BaseException:
            self._store.unclaim(made.id)
            raise

    async def _write(self, id: str, source: HttpSource, fetched: Fetched) -> None:
        async with self._blobs.open(Digest(fetched.digest)) as reader:
            with self._store.mount(id, writable=True) as root:
                path = Path(root) / fetched.filename
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    async for chunk in reader.chunks():
                        await self._threads.finish(file.write, chunk)
                os.chown(path, source.uid, source.gid)
                os.chmod(path, source.perm or 0o600)
                moment = fetched.last_modified * 1_000_000_000
                os.utime(path, ns=(moment, moment))

    async def _once(self, source: HttpSource, scope: Scope, report: Reporter) -> Fetched:
        """What the URL held when this build first asked, as long as we still have it."""

        async def ask() -> Fetched:
            fetched = await self._fetch(source, scope.sessions, report)
            await self._snapshot(source, fetched, scope.lease)  # held from now on: neither a prune nor the remote changes it
            return fetched

        fetched = await self._seen.once(scope.lease, url_key(source), ask)
        if self._store.find(_snapshot_key(source, fetched)) is None:
            again = await ask()
            if again.digest != fetched.digest:
                raise BuildFailed(f"{_redacted(source.url)} changed during the build: {again.digest}, was {fetched.digest}")
        if source.checksum and fetched.digest != source.checksum:
            raise BuildFailed(f"digest mismatch for {_redacted(source.url)}: {fetched.digest} (expected: {source.checksum})")
        return fetched

    async def _fetch(self, source: HttpSource, sessions: Sequence[str], report: Reporter) -> Fetched:
        if urlsplit(source.url).hostname == SESSION_HOST:
            digest = await self._blobs.put(self._uploaded(source, sessions))
            fetched = Fetched(digest=digest, filename=file_name(source))
        else:
            fetched = await self._download(source, sessions, report)
        if source.checksum and fetched.digest != source.checksum:
            raise BuildFailed(f"digest mismatch for {_redacted(source.url)}: {fetched.digest} (expected: {source.checksum})")
        return fetched

    async def _uploaded(self, source: HttpSource, sessions: Sequence[str]) -> AsyncIterator[bytes]:
        parts = urlsplit(source.url)
        for session in sessions:
            async for chunk in pull_upload(self._links, session, host=parts.netloc, path=parts.path):
                yield chunk
            return
        raise NotFound("no active sessions")

    async def _download(self, source: HttpSource, sessions: Sequence[str], report: Reporter) -> Fetched:
        headers = {**source.headers, **await self._authorization(source, sessions)}
        old = await self._recall(source)
        if old is not None:
            unchanged = await self._unchanged(source, headers, old)
            if unchanged:
                return old
        async with self._answer("GET", source, {**headers, "Accept-Encoding": "gzip"}) as response:
            if not 200 <= response.status < 400:
                raise BuildFailed(f"invalid response status {response.status}")
            digest = await self._blobs.put(self._body(response, source, report))
            fetched = Fetched(
                digest=digest,
                filename=file_name(source, response.headers.get("Content-Disposition", "")),
                last_modified=parse_http_time(response.headers.get("Last-Modified", "")),
                etag=response.headers.get("ETag", ""),
            )
        if fetched.etag:
            with suppress(BuildmeshError):  # then it is downloaded again
                await self._remembered.put(url_key(source), json.dumps(asdict(fetched)).encode())
        return fetched

    async def _unchanged(self, source: HttpSource, headers: dict[str, str], old: Fetched) -> bool:
        asking = {**headers, "If-None-Match": old.etag, "Accept-Encoding": "gzip"}
        try:
            async with self._answer("HEAD", source, asking) as response:
                etag = response.headers.get("ETag", "") or (old.etag if response.status == 304 else "")
                return response.status in (200, 304) and etag.removeprefix("W/") == old.etag.removeprefix("W/")
        except Unavailable:
            return False

    async def _recall(self, source: HttpSource) -> Fetched | None:
        entry = await self._remembered.get(url_key(source))
        if entry is None:
            return None
        value = json.loads(entry.value)
        old = Fetched(digest=value["digest"], filename=value["filename"], last_modified=value["last_modified"], etag=value["etag"])
        return None if await self._blobs.find_missing([Digest(old.digest)]) else old

    @asynccontextmanager
    async def _answer(self, method: str, source: HttpSource, headers: dict[str, str]) -> AsyncIterator[Any]:
        with wire_failures(f"failed to do request: {method} {_redacted(source.url)}"):
            async with self._pool.http().request(method, source.url, headers=headers, allow_redirects=True) as response:
                yield response

    async def _body(self, response: Any, source: HttpSource, report: Reporter) -> AsyncIterator[bytes]:
        status, total, done = f"downloading {_redacted(source.url)}", response.content_length or 0, 0
        report.status(status, total=total)
        plain = decompress_stream("gzip" if response.headers.get("Content-Encoding", "") == "gzip" else "")
        async for chunk in response.content.iter_chunked(_CHUNK):
            done += len(chunk)
            report.status(status, current=done, total=total)
            for piece in plain(chunk):
                yield piece
        for piece in plain(b""):
            yield piece
        report.status(status, current=done, total=total, done=True)

    async def _authorization(self, source: HttpSource, sessions: Sequence[str]) -> dict[str, str]:
        host = urlsplit(source.url).hostname or ""
        wanted = [(source.auth_header_secret, "{}")] if source.auth_header_secret else []
        wanted += [(f"HTTP_AUTH_HEADER_{host}", "{}"), (f"HTTP_AUTH_TOKEN_{host}", "Bearer {}")]
        for id, form in wanted:
            try:
                value = await get_secret(self._links, sessions, id)
            except NotFound:
                if id == source.auth_header_secret:
                    raise
                continue
            return {"Authorization": form.format(value.decode().strip())}
        return {}


def _snapshot_key(source: HttpSource, fetched: Fetched) -> str:
    return f"http:{url_key(source)}:{fetched.digest}:{fetched.last_modified}:{fetched.filename}"


def _redacted(url: str) -> str:
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc="xxxxx@" + parts.netloc.rpartition("@")[2]).geturl()
