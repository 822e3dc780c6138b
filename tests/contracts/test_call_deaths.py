"""Calls whose other side dies, over the memory bus and a real nats-server: told at once by the bus, late words do no harm."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from shared.bus.calls import Calls, CallSettings, Served
from shared.bus.memory import MemoryBus
from shared.bus.nats import NatsBus
from shared.bus.ports import Bus, Subscription
from shared.errors import CallLost, Denied
from shared.wire.messages import BridgeReadFile as Ask
from shared.wire.messages import FileData, TaskProgress

PATIENT = CallSettings(
    tick=0.05, accept_after=0.05, heartbeat=0.2, doubt=0.3, gone=0.2, silence=20.0, orphan=0.6, resend=0.2, accept_within=5.0, requeue=60.0
)
"""Silence alone would take 20 s: what ends sooner was told by the bus."""
ACK_WAIT = 60.0


def unique(text: str) -> str:
    return f"{text}.{os.urandom(6).hex()}"


class Mortal:
    """A bus as one process sees it. `die`: disconnected without a word; `freeze`: it says nothing for a while (a stopped process)."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._subscribed = AsyncExitStack()
        self._dead = False
        self._thawed = asyncio.Event()
        self._thawed.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        await self._thawed.wait()
        if not self._dead:
            await self._bus.publish(subject, data, reply=reply, headers=headers)

    @asynccontextmanager
    async def subscribe(self, subject: str, *, queue: str = "") -> AsyncIterator[Subscription]:
        yield await self._subscribed.enter_async_context(self._bus.subscribe(subject, queue=queue))

    async def die(self) -> None:
        self._dead = True
        await self._subscribed.aclose()

    def freeze(self) -> None:
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()


@pytest.fixture(params=["memory", "nats"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Any]]:
    shared = MemoryBus(ack_wait=ACK_WAIT)
    async with AsyncExitStack() as stack:

        async def one() -> Mortal:
            if request.param == "memory":
                return Mortal(shared)
            bus = await NatsBus.connect(request.getfixturevalue("nats").url, ack_wait=ACK_WAIT)
            stack.push_async_callback(bus.close)
            return Mortal(bus)

        yield one


class Worker:
    """Begins, and goes on when told. `label` is its answer."""

    def __init__(self, label: bytes, *, waits: bool) -> None:
        self.label = label
        self.began, self.go_on, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None
        if not waits:
            self.go_on.set()

    async def __call__(self, request: Ask, served: Served) -> FileData:
        self.began.set()
        try:
            await self.go_on.wait()
            await served.progress(TaskProgress())
            if self.error is not None:
                raise self.error
            return FileData(data=self.label)
        finally:
            self.ended.set()


def answering(worker: Worker) -> Any:
    async def answer(request: Ask, served: Served) -> FileData:
        return await worker(request, served)

    return {Ask: answer}


ASK = Ask(ref="r", path="x")


async def test_the_death_of_a_server_is_told_at_once(connect: Any) -> None:
    subject, worker = unique("call"), Worker(b"never", waits=True)
    theirs = await connect()
    async with Calls(theirs, settings=PATIENT) as server, Calls(await connect(), settings=PATIENT) as client, asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(subject, answering(worker)))
        asked = tasks.create_task(_outcome(client.call(subject, ASK)))
        await worker.began.wait()
        await asyncio.sleep(0.3)  # it has been accepted
        await theirs.die()
        async with asyncio.timeout(3):
            outcome = await asked
        serving.cancel()

    assert isinstance(outcome, CallLost)
    assert "is gone" in outcome.message


async def test_work_of_a_dead_server_is_handed_on_at_once(connect: Any) -> None:
    subject = unique("work")
    first, second = Worker(b"first", waits=True), Worker(b"second", waits=False)
    theirs = await connect()
    async with (
        Calls(theirs, settings=PATIENT) as server,
        Calls(await connect(), settings=PATIENT) as other,
        Calls(await connect(), settings=PATIENT) as client,
        asyncio.TaskGroup() as tasks,
    ):
        one = tasks.create_task(server.work(subject, answering(first), slots=asyncio.Semaphore(1)))
        asked = tasks.create_task(client.run(subject, ASK))
        await first.began.wait()
        await asyncio.sleep(0.3)
        one.cancel()
        await theirs.die()
        two = tasks.create_task(other.work(subject, answering(second), slots=asyncio.Semaphore(1)))
        async with asyncio.timeout(4):
            assert (await asked).data == b"second"
        two.cancel()


async def test_a_frozen_server_is_replaced_and_its_late_failure_ignored(connect: Any) -> None:
    """The first holder of the work stands still past its time; another has it when the first one comes back with an error."""
    subject = unique("work")
    settings = replace(PATIENT, silence=0.6)
    first, second = Worker(b"first", waits=True), Worker(b"second", waits=True)
    first.error = Denied("I was away and everything I asked was lost")
    theirs = await connect()
    async with (
        Calls(theirs, settings=settings) as server,
        Calls(await connect(), settings=settings) as other,
        Calls(await connect(), settings=settings) as client,
        asyncio.TaskGroup() as tasks,
    ):
        one = tasks.create_task(server.work(subject, answering(first), slots=asyncio.Semaphore(1)))
        asked = tasks.create_task(client.run(subject, ASK))
        await first.began.wait()
        await asyncio.sleep(0.3)
        theirs.freeze()
        two = tasks.create_task(other.work(subject, answering(second), slots=asyncio.Semaphore(1)))
        async with asyncio.timeout(5):
            await second.began.wait()
        await asyncio.sleep(0.3)  # accepted
        first.go_on.set()
        theirs.thaw()
        await first.ended.wait()
        await asyncio.sleep(0.3)
        assert not asked.done()
        second.go_on.set()
        async with asyncio.timeout(5):
            assert (await asked).data == b"second"
        one.cancel()
        two.cancel()


async def test_what_a_dead_caller_wanted_is_stopped_after_a_grace(connect: Any) -> None:
    subject, worker = unique("call"), Worker(b"never", waits=True)
    theirs = await connect()
    async with Calls(await connect(), settings=PATIENT) as server, Calls(theirs, settings=PATIENT) as client, asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(subject, answering(worker)))
        asked = tasks.create_task(_outcome(client.call(subject, ASK)))
        await worker.began.wait()
        await theirs.die()
        async with asyncio.timeout(4):
            await worker.ended.wait()
        asked.cancel()
        serving.cancel()

    assert server.statistics()["served"] == 0


async def test_who_leaves_cancels_nothing(connect: Any) -> None:
    """It is as if he had died: somebody else may ask for the same within the grace."""
    subject, worker = unique("call"), Worker(b"done", waits=True)
    theirs = await connect()
    async with Calls(await connect(), settings=PATIENT) as server, asyncio.TaskGroup() as tasks:
        async with Calls(theirs, settings=PATIENT) as client:
            serving = tasks.create_task(server.serve(subject, answering(worker)))
            asked = tasks.create_task(_outcome(client.call(subject, ASK)))
            await worker.began.wait()
            client.leave()
            asked.cancel()
            await asyncio.sleep(3 * PATIENT.heartbeat)  # heartbeats come that nobody waits for
            assert server.statistics()["served"] == 1
        await theirs.die()
        async with asyncio.timeout(4):
            await worker.ended.wait()
        serving.cancel()


@pytest.mark.parametrize("ticket", ["", "nonsense", "$JS.ACK.WORK.nobody.1.1.1.1.1", "$JS.API.STREAM.DELETE.WORK", "work.x#7"])
async def test_tickets_of_nobody_do_nothing(connect: Any, ticket: str) -> None:
    bus, subject = await connect(), unique("work")
    await bus.enqueue(subject, b"kept", key=unique("key"))

    await bus.reclaim(ticket)

    lease = await bus.pull(subject, within=5)
    assert lease.delivery.data == b"kept"
    await bus.reclaim(lease.ticket)
    again = await bus.pull(subject, within=5)
    assert (again.delivery.data, again.attempt) == (b"kept", 2)
    await again.done()
    await bus.reclaim(again.ticket)
    assert await bus.pull(subject, within=0.3) is None


async def _outcome(call: Any) -> Any:
    try:
        return await call
    except Exception as error:
        return error
