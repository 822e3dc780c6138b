"""How long the bus takes: a message to oneself, now and then."""

import asyncio

from shared.bus.ports import PubSub
from shared.errors import BuildmeshError
from shared.telemetry import Gauge

INTERVAL = 5.0


async def watch_bus_lag(bus: PubSub, gauge: Gauge) -> None:
    """Until cancelled. A message that does not come is told as the time that it was waited for."""
    while True:
        gauge.set(await round_trip(bus))
        await asyncio.sleep(INTERVAL)


async def round_trip(bus: PubSub, *, within: float = INTERVAL) -> float:
    """Seconds from publishing to receiving, at most `within`."""
    loop = asyncio.get_running_loop()
    began, inbox = loop.time(), bus.new_inbox()
    try:
        async with asyncio.timeout(within), bus.subscribe(inbox) as heard:
            began = loop.time()
            await bus.publish(inbox, b"")
            async for _ in heard:
                break
    except (BuildmeshError, TimeoutError):
        return within
    return loop.time() - began
