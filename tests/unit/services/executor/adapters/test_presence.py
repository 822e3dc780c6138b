"""An executor that can't reach the bus for a while goes on, and is there again when the bus is."""

import asyncio

import pytest

from services.executor.adapters import presence
from services.executor.adapters.presence import Presence
from shared.bus.memory import MemoryBus
from shared.errors import Unavailable
from shared.wire import subjects
from shared.wire.execute import DeviceInfo
from shared.wire.messages import ExecutorInfo


async def test_a_bus_that_is_away_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "RENEW_SECONDS", 0.01)
    bus = MemoryBus()
    bucket = await bus.bucket(subjects.KV_EXECUTORS, ttl=presence.PRESENCE_TTL)
    put, refused = bucket.put, []

    async def away(key: str, value: bytes) -> int:
        if len(refused) < 3:
            refused.append(key)
            raise Unavailable("the bus is away")
        return await put(key, value)

    async def refuse(key: str) -> None:
        raise Unavailable("the bus is away")

    monkeypatch.setattr(bucket, "put", away)
    monkeypatch.setattr(bucket, "delete", refuse)

    async def devices() -> tuple[DeviceInfo, ...]:
        return ()

    there = asyncio.Event()
    info = ExecutorInfo(id="e", platforms=(), slots=1)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(Presence(bus, info, lambda: 0, lambda: False, devices).run(there.set))
        await there.wait()
        assert len(refused) == 3
        assert [entry.key for entry in await bucket.entries()] == ["e"]
        telling.cancel()
