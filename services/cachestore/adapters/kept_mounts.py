"""Snapshots of cache mounts (KV `cache-mounts`) as seen by who collects garbage: what they need, and their end (docs/adr/0055)."""

from collections.abc import Sequence

from services.cachestore.core.gc_policy import Limits, Record
from services.cachestore.core.mount_keep import outlived
from services.cachestore.core.usage import Described, means, usage_filter
from shared.bus.ports import Entry, KeyValue
from shared.errors import InvalidInput
from shared.model import Digest, KeptMount
from shared.run import Clock
from shared.wire.codec import Codec
from shared.wire.messages import CacheMountKept

RECORD_TYPE = "exec.cachemount"


class KeptMounts:
    """`seconds`: so long a snapshot is kept that no step has changed; `max_bytes` of all together."""

    def __init__(self, bucket: KeyValue, clock: Clock, *, seconds: float, max_bytes: int) -> None:
        self._bucket, self._clock, self._seconds, self._max_bytes = bucket, clock, seconds, max_bytes
        self._codec = Codec((CacheMountKept,))

    async def live(self) -> set[Digest]:
        """The blobs that they consist of."""
        entries = await self._entries()
        return {layer.digest for _, found in entries.values() for layer in found.kept.layers if not layer.source}

    async def expire(self) -> int:
        """Forget what has had its time; returns how many. Their blobs go with the next sweep."""
        entries = await self._entries()
        kept = {key: found.kept for key, (_, found) in entries.items()}
        keys = outlived(kept, now=self._clock.now_ns(), seconds=self._seconds, max_bytes=self._max_bytes)
        for key in keys:
            await self._empty(*entries[key])
        for key, mount in kept.items():
            if not mount.kept and mount.changed_at < self._clock.now_ns() - int(self._seconds * 1e9):
                await self._bucket.delete(key)
        return len(keys)

    async def prune(self, limits: Limits, filters: Sequence[str]) -> None:
        """Forget those that a prune means, so that no executor begins with them again. One that keeps some space lets them be."""
        if limits.reserved_space or limits.max_used_space or limits.min_free_space:
            return
        chosen, horizon = usage_filter(filters), self._clock.now_ns() - limits.keep_duration
        for entry, found in (await self._entries()).values():
            young = limits.keep_duration and found.kept.changed_at > horizon
            if not young and means(chosen, _described(entry.key, found)):
                await self._empty(entry, found)

    async def _empty(self, entry: Entry, found: CacheMountKept) -> None:
        """Only if nobody has written meanwhile: else it is in use."""
        after = found.kept.anew()
        if found.kept.turn and after is not None:
            data = self._codec.encode(CacheMountKept(kept=after, id=found.id))
            await self._bucket.update(entry.key, data, revision=entry.revision)

    async def _entries(self) -> dict[str, tuple[Entry, CacheMountKept]]:
        out = {}
        for entry in await self._bucket.entries():
            try:
                body = self._codec.decode(entry.value).body
            except InvalidInput:
                continue  # what can't be read keeps no blob; the next step that ends writes it anew
            if isinstance(body, CacheMountKept):
                out[entry.key] = entry, body
        return out


def _described(key: str, found: CacheMountKept) -> Described:
    kept: KeptMount = found.kept
    record = Record(id=key[:25], size=kept.size, last_used_at=kept.changed_at, usage_count=kept.turn, record_type=RECORD_TYPE, shared=False)
    return Described(record=record, description=f"cached mount {found.id}")
