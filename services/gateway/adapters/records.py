"""Build records in a bucket of the bus, or as one small file each."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import DecodeError

from services.gateway.adapters.history_codec import read_record, record_message
from services.gateway.core.history import BuildRecord
from shared.bus.ports import Buckets, KeyValue
from shared.model import is_safe_id
from shared.pb import control_pb2
from shared.wire import subjects

T = TypeVar("T")


def decode_record(data: bytes) -> BuildRecord | None:
    """None for what is no record."""
    try:
        return read_record(control_pb2.BuildHistoryRecord.FromString(data))
    except DecodeError:
        return None


def encode_record(record: BuildRecord) -> bytes:
    """A marshalled BuildHistoryRecord."""
    return record_message(record).SerializeToString()


class BucketRecords:
    """Records in the bucket `history`: shared by all gateways, as durable as the bus."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._opened: KeyValue | None = None

    async def get(self, ref: str) -> BuildRecord | None:
        entry = await (await self._bucket()).get(ref)
        return decode_record(entry.value) if entry else None

    async def all(self) -> list[BuildRecord]:
        entries = await (await self._bucket()).entries()
        return [r for r in (decode_record(e.value) for e in entries) if r is not None]

    async def put(self, record: BuildRecord) -> None:
        await (await self._bucket()).put(record.ref, encode_record(record))

    async def delete(self, ref: str) -> None:
        await (await self._bucket()).delete(ref)

    async def _bucket(self) -> KeyValue:
        if self._opened is None:
            self._opened = await self._buckets.bucket(subjects.KV_HISTORY)
        return self._opened


class FileRecords:
    """Records as `<folder>/<ref>.record`, for a gateway that is alone; written to a temporary name and renamed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, BuildRecord] | None = None
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="history")

    async def get(self, ref: str) -> BuildRecord | None:
        return (await self._loaded()).get(ref)

    async def all(self) -> list[BuildRecord]:
        return list((await self._loaded()).values())

    async def put(self, record: BuildRecord) -> None:
        (await self._loaded())[record.ref] = record
        await self._run(self._write, self._path(record.ref), encode_record(record))

    async def delete(self, ref: str) -> None:
        if (await self._loaded()).pop(ref, None) is not None:
            await self._run(_remove, self._path(ref))

    async def _loaded(self) -> dict[str, BuildRecord]:
        if self._known is None:
            found = await self._run(self._read_all)
            self._known = self._known if self._known is not None else found
        return self._known

    async def _run(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def _path(self, ref: str) -> Path:
        if not is_safe_id(ref):
            raise ValueError(f"invalid build ref: {ref[:100]!r}")
        return self._folder / f"{ref}.record"

    def _read_all(self) -> dict[str, BuildRecord]:
        self._folder.mkdir(parents=True, exist_ok=True)
        found = (decode_record(path.read_bytes()) for path in self._folder.glob("*.record"))
        return {r.ref: r for r in found if r is not None and is_safe_id(r.ref)}

    def _write(self, path: Path, data: bytes) -> None:
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(data)
        os.replace(temporary, path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
