"""What a process announces again after the bus was away is only what it still answers for. (The rest is in tests/contracts.)"""

import asyncio

from shared.bus.nats_kv import NatsKeyValue


class Library:
    """A bucket as nats-py has it, with a `create` that takes its time and writes over a deletion that comes meanwhile, as theirs does."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[bytes, int]] = {}
        self.creating, self.go_on = asyncio.Event(), asyncio.Event()

    async def key_value(self, name: str) -> "Library":
        return self

    async def put(self, key: str, value: bytes) -> int:
        self.entries[key] = (value, len(self.entries) + 1)
        return self.entries[key][1]

    async def create(self, key: str, value: bytes) -> int:
        self.creating.set()
        await self.go_on.wait()
        return await self.put(key, value)

    async def purge(self, key: str) -> None:
        self.entries.pop(key, None)

    async def delete(self, key: str, last: int) -> bool:
        if self.entries[key][1] == last:
            del self.entries[key]
        return True


async def test_what_ends_while_it_is_announced_again_is_gone() -> None:
    library = Library()
    bucket = NatsKeyValue(library, library, "builds", ttl=30.0)  # type: ignore[arg-type]
    await bucket.open()
    for key in ("one", "two", "stays"):
        await bucket.put(key, b"x")
    library.entries.clear()  # the bus has lost its folder

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        again = tasks.create_task(bucket.restart())
        await library.creating.wait()  # of `one`
        await bucket.delete("one")
        await bucket.delete("two")
        library.go_on.set()
        await again

    assert sorted(library.entries) == ["stays"]
