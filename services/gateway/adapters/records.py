"""Build records in a bucket of the bus: shared by all gateways, as durable as the bus keeps buckets without a TTL."""

from google.protobuf.message import DecodeError

from services.gateway.adapters.history_codec import read_record, record_message
from services.gateway.core.history import BuildRecord
from shared.bus.ports import Buckets, KeyValue
from shared.pb import control_pb2
from shared.wire import subjects


def decode_record(data: bytes) -> BuildRecord | None:
    """None for what is no record."""
    try:
        return read_record(control_pb2.BuildHistoryRecord.FromString(data))
    except DecodeError:
        return None


def encode_record(record: BuildRecord) -> bytes:
    """A marshalled BuildHistoryRecord."""
    return record_message(record).SerializeToString()


def blobs_of(record: BuildRecord) -> tuple[str, ...]:
    """Digests of everything in the blob store that the record speaks of: garbage collection keeps them."""
    blobs = [b for b in (record.logs, record.trace, record.external_error) if b is not None]
    for outcome in (record.result, *record.results.values()):
        if outcome is not None:
            blobs += [*outcome.attestations, *outcome.results.values()]
    return tuple(dict.fromkeys(b.digest for b in blobs))


class BucketRecords:
    """Records in the bucket `history`."""

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
        await (await self._pins()).put(record.ref, "\n".join(blobs_of(record)).encode())
        await (await self._bucket()).put(record.ref, encode_record(record))

    async def delete(self, ref: str) -> None:
        await (await self._bucket()).delete(ref)
        await (await self._pins()).delete(ref)

    async def _pins(self) -> KeyValue:
        return await self._buckets.bucket(subjects.KV_PINS)

    async def _bucket(self) -> KeyValue:
        if self._opened is None:
            self._opened = await self._buckets.bucket(subjects.KV_HISTORY)
        return self._opened
