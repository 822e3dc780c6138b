"""`s3://`: blobs as objects `<prefix>/<algorithm>/<first two digits>/<digits>` (MinIO or any S3), by the minio package in threads.

An object becomes visible when its upload is complete (S3 does the same for multipart uploads), so a broken upload leaves nothing
to be seen. Bytes are hashed on a local disk before they are sent. What is read is not checked here: wrap in VerifyingBlobs.
"""

import asyncio
import os
import tempfile
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, unquote

from shared.blobs.credentials import FILE, credentials
from shared.blobs.ports import BlobReader
from shared.blobs.spool import Spool
from shared.blobs.threads import Pool
from shared.errors import BlobMissing, InvalidInput, Unavailable, first_failure
from shared.model import Digest, is_digest, parse_digest

T = TypeVar("T")

THREADS = 8
PART = 16 * 1024 * 1024  # bytes of one part of a multipart upload
LARGE = 32 * 1024 * 1024  # bytes of an object that is read in ranges
RANGE, AHEAD = 8 * 1024 * 1024, 4  # bytes of a range, and how many are on their way
_ABSENT = ("NoSuchKey", "NoSuchObject", "NoSuchBucket")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """`endpoint` host:port; `prefix` "" or ending in "/".

    With `tls`: `ca` is the PEM file to trust ("" = what the machine trusts), `server_name` the name that the certificate must have
    ("" = the host). `of_fleet`: it is to be the fleet's own certificate; whoever opens the store fills in both.
    """

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    prefix: str = ""
    tls: bool = False
    of_fleet: bool = False
    ca: str = ""
    server_name: str = ""
    region: str = "us-east-1"

    @property
    def hint(self) -> str:
        """What an error of the store is to say as well."""
        return "" if self.access_key else f" (no key was given: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or {FILE})"

    @classmethod
    def parse(cls, url: SplitResult, query: Mapping[str, str], environment: Mapping[str, str]) -> "S3Settings":
        """`s3://[key:secret@]host:port/bucket[/prefix][?tls=true&region=…]`. Raises InvalidInput naming what is missing."""
        bucket, _, prefix = unquote(url.path).strip("/").partition("/")
        if not url.hostname or not bucket:
            raise InvalidInput(f"blobs s3://{url.hostname or ''}{url.path}: want s3://host:port/bucket")
        endpoint = url.hostname + (f":{url.port}" if url.port else "")
        key, secret = credentials(environment)
        return cls(
            endpoint=endpoint,
            bucket=bucket,
            access_key=unquote(url.username or "") or key,
            secret_key=unquote(url.password or "") or secret,
            prefix=f"{prefix}/" if prefix else "",
            tls=query.get("tls", "false") in ("true", "mesh"),
            of_fleet=query.get("tls") == "mesh",
            region=query.get("region") or environment.get("AWS_REGION") or "us-east-1",
        )


def make_bucket(client: Any, name: str) -> None:
    """Services start together: whoever comes second finds the bucket made, between its question and its order too. Who has a key of
    its own (s3_rights.py) may not even ask: then it was made with the key."""
    from minio.error import S3Error

    try:
        if not client.bucket_exists(name):
            client.make_bucket(name)
    except S3Error as error:
        if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists", "AccessDenied"):
            raise


def http_pool(settings: S3Settings) -> Any:
    """Connections that trust what the settings say."""
    import urllib3

    trust: dict[str, Any] = {"ca_certs": settings.ca} if settings.ca else {}
    if settings.server_name:
        trust |= {"assert_hostname": settings.server_name, "server_hostname": settings.server_name}
    retries = urllib3.Retry(total=4, backoff_factor=0.2)
    return urllib3.PoolManager(maxsize=THREADS, timeout=urllib3.Timeout(connect=5.0, read=60.0), retries=retries, **trust)


def client_of(settings: S3Settings) -> Any:
    """The library's, of which nothing has been asked yet."""
    from minio import Minio

    return Minio(
        settings.endpoint,
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        secure=settings.tls,
        region=settings.region,
        http_client=http_pool(settings),
    )


class S3Reader:
    """Ranged reads of one object."""

    def __init__(self, store: "S3Blobs", digest: Digest, size: int) -> None:
        self._store, self._digest, self._size = store, digest, size

    @property
    def size(self) -> int:
        return self._size

    async def read_at(self, offset: int, length: int) -> bytes:
        length = min(length, self._size - offset)
        return b"" if length <= 0 else await self._store.read(self._digest, offset, length)

    async def chunks(self, *, offset: int = 0, chunk_size: int = 1 << 20) -> AsyncIterator[bytes]:
        """One request for all of a small object, ranges side by side for a large one."""
        if offset >= self._size:
            return
        source = self._ranges(offset) if self._size - offset > LARGE else self._stream(offset, chunk_size)
        async with aclosing(source):
            async for piece in source:
                for at in range(0, len(piece), chunk_size):
                    yield piece[at : at + chunk_size]

    async def _ranges(self, offset: int) -> AsyncGenerator[bytes, None]:
        """In order; a few are on their way while one is used, so that a connection's speed is not the limit."""
        starts = iter(range(offset, self._size, RANGE))
        async with asyncio.TaskGroup() as tasks:
            coming = deque(tasks.create_task(self.read_at(at, RANGE)) for at in islice(starts, AHEAD))
            try:
                while coming:
                    piece = await coming.popleft()
                    if (at := next(starts, None)) is not None:
                        coming.append(tasks.create_task(self.read_at(at, RANGE)))
                    yield piece
            finally:
                for task in coming:
                    task.cancel()

    async def _stream(self, offset: int, chunk_size: int) -> AsyncGenerator[bytes, None]:
        """The connection is released at the end, also when the reader leaves early."""
        answer = await self._store.request(self._digest, offset)
        try:
            while chunk := await self._store.do(self._digest, answer.read, chunk_size):
                yield chunk
        finally:
            await asyncio.shield(self._store.do(self._digest, _release, answer))

    def local_path(self) -> Path | None:
        return None


class S3Blobs:
    """See shared.blobs.ports.Blobs."""

    def __init__(self, settings: S3Settings, *, spool: Path | None = None) -> None:
        self._settings = settings
        self._pool = Pool("s3", THREADS)
        self._spool = spool
        self._made: Any = None
        self._opening = asyncio.Lock()

    async def _client(self) -> Any:
        async with self._opening:
            if self._made is None:
                self._made = await self._pool.do(self._open)
            return self._made

    def _open(self) -> Any:
        client = client_of(self._settings)
        make_bucket(client, self._settings.bucket)
        return client

    def _name(self, digest: Digest) -> str:
        algorithm, _, digits = parse_digest(digest).partition(":")
        return f"{self._settings.prefix}{algorithm}/{digits[:2]}/{digits}"

    async def do(self, digest: Digest | str, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """A blocking call in a thread; its errors as ours: BlobMissing, Unavailable."""
        from minio.error import MinioException, S3Error
        from urllib3.exceptions import HTTPError

        try:
            return await self._pool.do(call, *args, **kwargs)
        except S3Error as error:
            if error.code in _ABSENT:
                raise BlobMissing(digest) from None
            raise Unavailable(f"blob store {self._settings.endpoint}: {error.code}: {error.message}{self._settings.hint}") from error
        except (MinioException, HTTPError, OSError) as error:
            raise Unavailable(f"blob store {self._settings.endpoint}: {error}") from error

    async def _size(self, digest: Digest) -> int:
        client = await self._connected(digest)
        stat = await self.do(digest, client.stat_object, self._settings.bucket, self._name(digest))
        return int(stat.size)

    async def _connected(self, digest: Digest | str) -> Any:
        from minio.error import MinioException
        from urllib3.exceptions import HTTPError

        try:
            return await self._client()
        except (MinioException, HTTPError, OSError) as error:
            raise Unavailable(f"blob store {self._settings.endpoint}: {error}") from error

    async def find_missing(self, digests: Collection[Digest]) -> frozenset[Digest]:
        missing: set[Digest] = set()

        async def look(digest: Digest) -> None:
            try:
                await self._size(digest)
            except BlobMissing:
                missing.add(digest)

        for digest in digests:
            parse_digest(digest)
        await _each(digests, look)
        return frozenset(missing)

    @asynccontextmanager
    async def open(self, digest: Digest) -> AsyncIterator[BlobReader]:
        yield S3Reader(self, digest, await self._size(digest))

    async def read(self, digest: Digest, offset: int, length: int) -> bytes:
        """A range of an object."""
        answer = await self.request(digest, offset, length)
        try:
            data: bytes = await self.do(digest, answer.read)
            return data
        finally:
            await asyncio.shield(self.do(digest, _release, answer))

    async def request(self, digest: Digest, offset: int, length: int = 0) -> Any:
        """The open answer to a ranged request; to be released."""
        client = await self._connected(digest)
        return await self.do(digest, client.get_object, self._settings.bucket, self._name(digest), offset=offset, length=length)

    async def put(self, chunks: AsyncIterator[bytes] | bytes, *, digest: Digest | None = None) -> Digest:
        algorithm = "sha256" if digest is None else parse_digest(digest).partition(":")[0]
        spool = Spool(self._spool or Path(tempfile.gettempdir()), self._pool, algorithm)
        try:
            await spool.fill(chunks)
            found = spool.check(digest)
            spool.close()
            await self.put_file(spool.path, digest=found)
            return found
        finally:
            await asyncio.shield(self._pool.do(spool.discard))

    async def put_file(self, path: Path, *, digest: Digest, move: bool = False) -> None:
        client = await self._connected(digest)
        await self.do(
            digest, client.fput_object, self._settings.bucket, self._name(digest), str(path), part_size=PART, num_parallel_uploads=2
        )
        if move:
            await self._pool.do(os.unlink, path)

    async def delete(self, digest: Digest) -> bool:
        try:
            await self._size(digest)
        except BlobMissing:
            return False
        client = await self._connected(digest)
        await self.do(digest, client.remove_object, self._settings.bucket, self._name(digest))
        return True

    async def walk(self) -> AsyncIterator[tuple[Digest, int]]:
        client = await self._connected("")
        listing = client.list_objects(self._settings.bucket, prefix=self._settings.prefix, recursive=True)
        while batch := await self.do("", _batch, listing):
            for entry in batch:
                algorithm, _, digits = entry.object_name.removeprefix(self._settings.prefix).partition("/")
                name = f"{algorithm}:{digits.rpartition('/')[2]}"
                if is_digest(name):
                    yield Digest(name), int(entry.size)

    async def close(self) -> None:
        """Release the threads."""
        self._pool.close()


async def _each(digests: Collection[Digest], look: Callable[[Digest], Any]) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            for digest in digests:
                tasks.create_task(look(digest))
    except BaseExceptionGroup as group:
        raise first_failure(group) from None


def _batch(listing: Any) -> list[Any]:
    out = []
    for entry in listing:
        out.append(entry)
        if len(out) == 500:
            break
    return out


def _release(answer: Any) -> None:
    answer.close()
    answer.release_conn()
