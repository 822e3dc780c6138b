"""Calls over the memory bus and over a real nats-server: one answer each, heartbeats, cancel, loss, work that changes hands."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from shared.blobs.memory import MemoryBlobs
from shared.bus.caller import OpenCall
from shared.bus.calls import Calls, CallSettings, Handlers, Served
from shared.bus.memory import MemoryBus
from shared.bus.nats import NatsBus
from shared.bus.ports import Bus
from shared.errors import BlobMissing, BuildmeshError, CallLost, Canceled, Denied, InvalidInput, RefLost, vertex_detail
from shared.model import LogChunk
from shared.run.backends import BlobClaims
from shared.wire.messages import BridgeReadFile as Ask
from shared.wire.messages import Done, FileData, SourceMeta, TaskProgress

ACK_WAIT = 1.0
QUICK = CallSettings(tick=0.05, accept_after=0.05, heartbeat=0.1, silence=0.6, resend=0.2, accept_within=3.0, requeue=2.0, limit=64 * 1024)


def unique(text: str) -> str:
    return f"{text}.{os.urandom(6).hex()}"


@pytest.fixture(params=["memory", "nats"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Any]]:
    """Gives a bus per caller: the same one in memory, a connection each with NATS."""
    shared = MemoryBus(ack_wait=ACK_WAIT)
    async with AsyncExitStack() as stack:

        async def one() -> Bus:
            if request.param == "memory":
                return shared
            bus = await NatsBus.connect(request.getfixturevalue("nats").url, ack_wait=ACK_WAIT)
            stack.push_async_callback(bus.close)
            return bus

        yield one


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@asynccontextmanager
async def calls_on(connect: Callable[[], Any], blobs: MemoryBlobs, **settings: Any) -> AsyncIterator[Calls]:
    async with Calls(await connect(), claims=BlobClaims(blobs), settings=QUICK) as calls:
        yield calls


@asynccontextmanager
async def serving(calls: Calls, subject: str, handlers: Handlers, **options: Any) -> AsyncIterator[asyncio.Task[None]]:
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(calls.serve(subject, handlers, ready=ready.set, **options))
        await ready.wait()
        yield task
        task.cancel()


def echo(request: Ask, served: Served) -> FileData:
    return FileData(data=request.path.encode())


async def aecho(request: Ask, served: Served) -> FileData:
    await asyncio.sleep(0)
    return echo(request, served)


def ask(path: str = "x") -> Ask:
    return Ask(ref="r", path=path)


@pytest.mark.parametrize("handler", [echo, aecho])
async def test_a_question_is_answered(connect: Any, blobs: MemoryBlobs, handler: Any) -> None:
    subject = unique("call")
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, serving(server, subject, {Ask: handler}):
        answers = [await client.call(subject, ask(str(i))) for i in range(3)]

    assert [a.data for a in answers] == [b"0", b"1", b"2"]


async def test_a_server_that_comes_later_is_found(connect: Any, blobs: MemoryBlobs) -> None:
    subject = unique("call")
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(client.call(subject, ask()))
        await asyncio.sleep(0.3)
        async with serving(server, subject, {Ask: echo}):
            answer = await asked

    assert answer.data == b"x"


async def test_a_server_that_comes_a_moment_later_is_asked_at_once() -> None:
    """Each build begins so: its first question overtakes the solver's subscription."""
    subject, bus, slow = unique("call"), MemoryBus(), CallSettings(nobody=6.0, resend=60.0)
    async with Calls(bus, settings=slow) as server, Calls(bus, settings=slow) as client, asyncio.timeout(2), asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(client.call(subject, ask()))
        for _ in range(10):  # the question is out, and nobody has heard it
            await asyncio.sleep(0)
        async with serving(server, subject, {Ask: echo}):
            answer = await asked

    assert answer.data == b"x"


async def test_what_waits_in_a_queue_is_counted_until_somebody_takes_it(connect: Any, blobs: MemoryBlobs) -> None:
    """The figures that autoscaling goes by."""
    subject, taken, enough = unique("work"), asyncio.Event(), asyncio.Event()

    async def slow(request: Ask, served: Served) -> FileData:
        await served.progress(TaskProgress())
        await enough.wait()
        return echo(request, served)

    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(client.run(subject, ask(str(i)), on_progress=lambda _: taken.set())) for i in range(3)]
        await asyncio.sleep(0.1)
        before = client.waiting()[subject]
        worker = tasks.create_task(server.work(subject, {Ask: slow}, slots=asyncio.Semaphore(1)))
        await taken.wait()
        meanwhile = client.waiting()[subject]
        enough.set()
        answers = [await task for task in asked]
        after = client.waiting()
        worker.cancel()

    assert (before.depth, meanwhile.depth, len(answers), after) == (3, 2, 3, {})
    assert before.oldest >= 0.09  # the sleep may end a moment before what it was told


async def test_nobody_there_is_a_lost_call(connect: Any, blobs: MemoryBlobs) -> None:
    async with calls_on(connect, blobs) as client:
        with pytest.raises(CallLost, match=r"nobody (answers|listens)"):
            await client.call(unique("call"), ask(), within=0.3)


async def test_a_server_that_is_gone_for_good_is_given_up_soon(connect: Any, blobs: MemoryBlobs) -> None:
    async with calls_on(connect, blobs) as client, asyncio.timeout(2):
        with pytest.raises(CallLost, match="nobody listens"):
            await client.call(unique("call"), ask(), within=30, absent=0.2)


@pytest.mark.parametrize(
    "error",
    [
        Denied("no", details=[vertex_detail("sha256:" + "a" * 64)], reason="policy"),
        RefLost("ref1"),
        BlobMissing("sha256:" + "b" * 64),
        InvalidInput("bad", code=None),
    ],
)
async def test_errors_arrive_as_they_were_raised(connect: Any, blobs: MemoryBlobs, error: Any) -> None:
    async def failing(request: Ask, served: Served) -> Done:
        raise error

    subject = unique("call")
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, serving(server, subject, {Ask: failing}):
        with pytest.raises(type(error)) as raised:
            await client.call(subject, ask())

    got: Any = raised.value
    assert (type(got), got.message, got.reason, got.details) == (type(error), error.message, error.reason, error.details)
    assert getattr(got, "ref_id", None) == getattr(error, "ref_id", None)


async def test_a_failed_call_leaves_nothing_to_be_collected() -> None:
    """Else its request (up to 16 MiB of a hostile frontend) stays in memory until the collector comes by."""

    async def refuse(request: Ask, served: Served) -> FileData:
        raise InvalidInput("no")

    subject = unique("call")
    async with Calls(MemoryBus()) as calls, serving(calls, subject, {Ask: refuse}):
        gc.disable()
        try:
            with pytest.raises(InvalidInput):
                await calls.call(subject, ask())
            left = [found for found in gc.get_objects() if isinstance(found, OpenCall)]
        finally:
            gc.enable()

    assert left == []


async def test_the_error_of_a_task_group_is_told_and_the_server_lives(connect: Any, blobs: MemoryBlobs) -> None:
    async def failing(request: Ask, served: Served) -> Done:
        async def fail() -> None:
            raise Denied("inside")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())
        return Done()

    subject = unique("call")
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, serving(server, subject, {Ask: failing}):
        for _ in range(2):
            with pytest.raises(Denied, match="inside"):
                await client.call(subject, ask())


@pytest.mark.parametrize("path", ["raise", "answer"])
async def test_text_that_is_no_utf8_fails_its_call_only(connect: Any, blobs: MemoryBlobs, path: str) -> None:
    """Names of files and lines of Dockerfiles may hold any bytes, which Python keeps as surrogates."""

    def odd(request: Ask, served: Served) -> SourceMeta | FileData:
        if request.path == "raise":
            raise Denied("open a\udcff")
        return SourceMeta(git_ref="\udcff") if request.path == "answer" else FileData(data=b"still there")

    subject = unique("call")
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, serving(server, subject, {Ask: odd}):
        with pytest.raises(BuildmeshError) as raised:
            await client.call(subject, ask(path))
        assert await client.call(subject, ask()) == FileData(data=b"still there")

    assert raised.value.message.isprintable()
    assert path == "answer" or raised.value.message == "open a\ufffd"


async def test_progress_arrives_in_order_before_the_answer(connect: Any, blobs: MemoryBlobs) -> None:
    async def working(request: Ask, served: Served) -> Done:
        for i in range(50):
            await served.progress(TaskProgress(logs=(LogChunk(vertex="", stream=1, data=b"%d" % i),)))  # type: ignore[arg-type]
        return Done()

    heard: list[bytes] = []
    subject = unique("call")
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, serving(server, subject, {Ask: working}):
        await client.call(subject, ask(), on_progress=lambda p: heard.append(p.logs[0].data))

    assert heard == [b"%d" % i for i in range(50)]


@pytest.mark.slow
async def test_a_long_call_lives_by_heartbeats(connect: Any, blobs: MemoryBlobs) -> None:
    async def slow(request: Ask, served: Served) -> Done:
        await asyncio.sleep(QUICK.silence * 2.5)
        return Done()

    subject = unique("call")
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, serving(server, subject, {Ask: slow}):
        assert await client.call(subject, ask()) == Done()


async def test_a_call_runs_once_though_it_is_sent_again(connect: Any, blobs: MemoryBlobs) -> None:
    runs = 0

    async def slow(request: Ask, served: Served) -> Done:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.3)
        return Done()

    subject = unique("call")
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, serving(server, subject, {Ask: slow}):
        bus = await connect()
        sent: list[bytes] = []
        async with bus.subscribe(subject) as tapped, asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(client.call(subject, ask()))
            delivery = await anext(aiter(tapped))
            sent.append(delivery.data)
            await bus.publish(subject, delivery.data, reply=delivery.reply)
            await asked
            await bus.publish(subject, delivery.data, reply=delivery.reply)
            await asyncio.sleep(0.1)

    assert runs == 1


async def test_cancelling_the_caller_stops_the_server(connect: Any, blobs: MemoryBlobs) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def endless(request: Ask, served: Served) -> Done:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return Done()

    subject = unique("call")
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, serving(server, subject, {Ask: endless}):
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(client.call(subject, ask()))
            await began.wait()
            asked.cancel()
        async with asyncio.timeout(3):
            await ended.wait()

    assert server.statistics()["served"] == 0


async def test_a_server_that_stops_tells_so(connect: Any, blobs: MemoryBlobs) -> None:
    began = asyncio.Event()

    async def endless(request: Ask, served: Served) -> Done:
        began.set()
        await asyncio.sleep(60)
        return Done()

    subject = unique("call")
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, asyncio.TaskGroup() as tasks:
        async with serving(server, subject, {Ask: endless}) as task:
            asked = tasks.create_task(_outcome(client.call(subject, ask())))
            await began.wait()
            task.cancel()
        outcome = await asked

    assert isinstance(outcome, CallLost)


async def _outcome(call: Any) -> Any:
    try:
        return await call
    except Exception as error:
        return error


async def test_draining_finishes_what_runs_and_takes_nothing_new(connect: Any, blobs: MemoryBlobs) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def working(request: Ask, served: Served) -> Done:
        began.set()
        await go_on.wait()
        return Done()

    subject = unique("call")
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, asyncio.TaskGroup() as tasks:
        serve = tasks.create_task(server.serve(subject, {Ask: working}))
        asked = tasks.create_task(client.call(subject, ask()))
        await began.wait()
        await server.drain()
        with pytest.raises(CallLost):
            await client.call(subject, ask(), within=0.3)
        assert not serve.done()
        go_on.set()
        assert await asked == Done()
        async with asyncio.timeout(3):
            await serve


async def test_large_payloads_go_through_the_blob_store(connect: Any, blobs: MemoryBlobs) -> None:
    big = "x" * 300_000

    async def working(request: Ask, served: Served) -> FileData:
        await served.progress(TaskProgress(logs=(LogChunk(vertex="", stream=1, data=b"p" * 200_000),)))  # type: ignore[arg-type]
        await served.progress(TaskProgress(logs=(LogChunk(vertex="", stream=1, data=b"small"),)))  # type: ignore[arg-type]
        return FileData(data=request.path.encode())

    heard: list[int] = []
    subject = unique("call")
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, serving(server, subject, {Ask: working}):
        answer = await client.call(subject, ask(big), on_progress=lambda p: heard.append(len(p.logs[0].data)))

    assert (len(answer.data), heard) == (300_000, [200_000, 5])


async def test_a_request_that_is_not_served_is_refused(connect: Any, blobs: MemoryBlobs) -> None:
    subject = unique("call")
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, serving(server, subject, {Ask: echo}):
        with pytest.raises(InvalidInput, match="Done is not served here"):
            await client.call(subject, Done())


@pytest.mark.parametrize("garbage", [b"", b"\xc1", b"\x81\xa1t\xa3Nix", b"\x00" * 100_000])
async def test_garbage_does_not_stop_a_server(connect: Any, blobs: MemoryBlobs, garbage: bytes) -> None:
    subject = unique("call")
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, serving(server, subject, {Ask: echo}):
        bus = await connect()
        await bus.publish(subject, garbage, reply=bus.new_inbox())
        await bus.publish("calls.cancel", garbage)
        assert (await client.call(subject, ask())).data == b"x"


# --- work --------------------------------------------------------------------------------------------------------------------


async def test_work_waits_for_a_free_slot(connect: Any, blobs: MemoryBlobs) -> None:
    running = most = 0

    async def working(request: Ask, served: Served) -> FileData:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        return echo(request, served)

    subject = unique("work")
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, asyncio.TaskGroup() as tasks:
        work = tasks.create_task(server.work(subject, {Ask: working}, slots=asyncio.Semaphore(2)))
        asked = [tasks.create_task(client.run(subject, ask(str(i)))) for i in range(6)]
        answers = sorted([(await task).data for task in asked])
        work.cancel()

    assert (answers, most) == ([b"0", b"1", b"2", b"3", b"4", b"5"], 2)


@pytest.mark.slow
async def test_work_of_a_worker_that_dies_is_done_by_another(connect: Any, blobs: MemoryBlobs) -> None:
    attempts: list[int] = []
    began = asyncio.Event()
    subject = unique("work")

    async def working(request: Ask, served: Served) -> Done:
        attempts.append(served.attempt)
        return Done()

    bus = await connect()
    async with calls_on(connect, blobs) as second, calls_on(connect, blobs) as client, asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(client.run(subject, ask()))
        lease = await bus.pull(subject, within=5)  # takes it, and is never heard of again
        assert lease is not None
        began.set()
        work = tasks.create_task(second.work(subject, {Ask: working}, slots=asyncio.Semaphore(1)))
        async with asyncio.timeout(10):
            assert await asked == Done()
        work.cancel()

    assert attempts == [2]


async def test_draining_hands_queued_work_to_another(connect: Any, blobs: MemoryBlobs) -> None:
    began = asyncio.Event()
    subject = unique("work")

    async def endless(request: Ask, served: Served) -> Done:
        began.set()
        await asyncio.sleep(60)
        return Done()

    async def working(request: Ask, served: Served) -> FileData:
        return FileData(data=b"second")

    async with (
        calls_on(connect, blobs) as first,
        calls_on(connect, blobs) as second,
        calls_on(connect, blobs) as client,
        asyncio.TaskGroup() as tasks,
    ):
        one = tasks.create_task(first.work(subject, {Ask: endless}, slots=asyncio.Semaphore(1)))
        asked = tasks.create_task(client.run(subject, ask()))
        await began.wait()
        one.cancel()
        two = tasks.create_task(second.work(subject, {Ask: working}, slots=asyncio.Semaphore(1)))
        async with asyncio.timeout(5):
            assert (await asked).data == b"second"
        two.cancel()


async def test_work_cancelled_before_it_began_never_runs(connect: Any, blobs: MemoryBlobs) -> None:
    runs: list[str] = []
    subject = unique("work")

    async def working(request: Ask, served: Served) -> Done:
        runs.append(request.path)
        return Done()

    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(_outcome(client.run(subject, ask("cancelled"))))
        await asyncio.sleep(0.2)
        asked.cancel()
        await asyncio.sleep(0.1)
        work = tasks.create_task(server.work(subject, {Ask: working}, slots=asyncio.Semaphore(1)))
        await client.run(subject, ask("wanted"))
        work.cancel()

    assert runs == ["wanted"]


async def test_whoever_drops_cancelled_work_is_told_of_it(connect: Any, blobs: MemoryBlobs) -> None:
    """Somebody who died may have begun it and left something; what is larger than a message is fetched for that."""
    told: list[str] = []
    subject = unique("work")
    large = "x" * 100_000

    async def abandoned(request: Ask) -> None:
        told.append(request.path)

    async with calls_on(connect, blobs) as dead, calls_on(connect, blobs) as server, calls_on(connect, blobs) as client:
        begun, began = asyncio.Event(), asyncio.Event()

        async def working(request: Ask, served: Served) -> Done:
            return Done()

        async def endless(request: Ask, served: Served) -> Done:
            began.set()
            await begun.wait()
            return Done()

        async with asyncio.TaskGroup() as tasks:
            died = tasks.create_task(dead.work(subject, {Ask: endless}, slots=asyncio.Semaphore(1)))
            asked = tasks.create_task(_outcome(client.run(subject, ask(large))))
            await began.wait()
            died.cancel()  # its work goes back to the queue
            await asyncio.wait([died])
            asked.cancel()
            await asyncio.sleep(0.1)
            work = tasks.create_task(server.work(subject, {Ask: working}, slots=asyncio.Semaphore(1), abandoned={Ask: abandoned}))
            await client.run(subject, ask("wanted"))
            work.cancel()

    assert told == [large]


@pytest.mark.slow
async def test_work_that_the_queue_has_lost_is_queued_again(connect: Any, blobs: MemoryBlobs) -> None:
    subject = unique("work")
    bus = await connect()
    async with calls_on(connect, blobs) as server, calls_on(connect, blobs) as client, asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(client.run(subject, ask()))
        lost = await bus.pull(subject, within=5)
        assert lost is not None
        await lost.done()  # as if the queue's folder were gone
        work = tasks.create_task(server.work(subject, {Ask: echo}, slots=asyncio.Semaphore(1)))
        async with asyncio.timeout(10):
            assert (await asked).data == b"x"
        work.cancel()


async def test_closing_ends_those_who_wait(connect: Any, blobs: MemoryBlobs) -> None:
    async with asyncio.TaskGroup() as tasks:
        async with calls_on(connect, blobs) as client:
            asked = tasks.create_task(_outcome(client.run(unique("work"), ask())))
            await asyncio.sleep(0.1)
        assert isinstance(await asked, Canceled)
