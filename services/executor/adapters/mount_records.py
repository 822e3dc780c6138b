"""The entries of KV `cache-mounts`: read, and changed only as long as they are what was read."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from shared.bus.ports import Buckets, Entry
from shared.errors import InvalidInput, Unavailable
from shared.model import KeptMount
from shared.run import Clock, new_id
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.messages import CacheMountKept

__all__ = ["MountName", "MountRecords"]

ATTEMPTS = 20  # so often another executor may be faster


@dataclass(frozen=True, slots=True, kw_only=True)
class MountName:
    """A cache mount as the whole fleet calls it: its id, and the Ref of the tree it begins with ("" = empty)."""

    id: str
    base: str = ""


class MountRecords:
    """Errors of all methods: Unavailable. What stands there and can't be read counts as nothing."""

    def __init__(self, buckets: Buckets, clock: Clock) -> None:
        self._buckets, self._clock, self._codec = buckets, clock, Codec((CacheMountKept,))

    async def get(self, name: MountName) -> KeptMount | None:
        """What the fleet knows of it."""
        bucket = await self._buckets.bucket(subjects.KV_MOUNTS)
        return self._decoded(await bucket.get(await self._key(name)))

    async def change(self, name: MountName, change: Callable[[KeptMount], KeptMount | None]) -> KeptMount | None:
        """The entry after `change`, which may be asked several times; None when it wants none. An absent entry is a new one."""
        bucket, key = await self._buckets.bucket(subjects.KV_MOUNTS), await self._key(name)
        for _ in range(ATTEMPTS):
            found = await bucket.get(key)
            after = change(self._decoded(found) or KeptMount(epoch=new_id()))
            if after is None:
                return None
            after = replace(after, changed_at=self._clock.now_ns())
            data = self._codec.encode(CacheMountKept(kept=after, id=name.id[:200]))
            done = await (bucket.create(key, data) if found is None else bucket.update(key, data, revision=found.revision))
            if done is not None:
                return after
        raise Unavailable(f"the entry of cache mount {name.id[:100]!r} changes all the time")

    async def _key(self, name: MountName) -> str:
        """Mounts that begin with a tree are named anew whenever those of their id are emptied: they can't be listed."""
        if not name.base:
            return _hashed(name.id)
        own = await self.get(MountName(id=name.id))
        generation = f"{own.epoch}.{own.emptied}" if own is not None and own.emptied else ""
        return _hashed(f"{len(name.id)}:{name.id}:{name.base}:{generation}")

    def _decoded(self, entry: Entry | None) -> KeptMount | None:
        if entry is None:
            return None
        try:
            body = self._codec.decode(entry.value).body
        except InvalidInput:
            return None
        return body.kept if isinstance(body, CacheMountKept) else None


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
