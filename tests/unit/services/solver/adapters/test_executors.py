"""Who gets a piece of work."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from services.solver.adapters import executors
from services.solver.adapters.executors import ExecutorFleet, ExecutorWork
from services.solver.core.graph import LlbOp
from shared.bus.calls import Calls, Served
from shared.bus.memory import MemoryBus
from shared.errors import Exhausted
from shared.llb import ExecOp, FileOp, Meta, Op
from shared.model import Digest, Platform, Ref
from shared.telemetry import Log
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.messages import ExecutorInfo, OpDone, RunOp, Scope

LINUX = Platform(os="linux", architecture="amd64")
ARM = Platform(os="linux", architecture="arm64")
Run = Callable[[RunOp, Served], Awaitable[OpDone]]
VERTEX = Digest("sha256:" + "1" * 64)


def info(id: str, **fields: object) -> ExecutorInfo:
    return ExecutorInfo(**{"id": id, "platforms": (LINUX,), "slots": 2, **fields})  # type: ignore[arg-type]


async def fleet_of(bus: MemoryBus, *infos: ExecutorInfo) -> ExecutorFleet:
    """A fleet that has heard of these."""
    bucket = await bus.bucket(subjects.KV_EXECUTORS, ttl=60.0)
    fleet = ExecutorFleet(bus, Log())
    for one in infos:
        await bucket.put(one.id, Codec().encode(one))
    for entry in await bucket.entries():
        fleet._take(entry.key, entry)
    return fleet


async def test_the_default_platform_is_our_own_where_somebody_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the ids are, which are drawn. Its workers come first: a frontend takes the first one's platform for its own."""
    monkeypatch.setattr(executors.host, "machine", lambda: "x86_64")
    fleet = await fleet_of(MemoryBus(), info("a", platforms=(ARM,)), info("b"), info("c", platforms=(ARM,)))
    assert fleet.default_platform() == LINUX
    assert [worker.id for worker in fleet.workers()] == ["b", "a", "c"]

    monkeypatch.setattr(executors.host, "machine", lambda: "riscv64")
    assert fleet.default_platform() == ARM  # most of them
    assert (await fleet_of(MemoryBus())).default_platform() == Platform(os="linux", architecture="riscv64")


async def test_records_of_others_are_not_believed() -> None:
    """An entry under another key, or one that is no record."""
    bus = MemoryBus()
    bucket = await bus.bucket(subjects.KV_EXECUTORS, ttl=60.0)
    await bucket.put("x", Codec().encode(info("y")))
    await bucket.put("z", b"nonsense")
    fleet = await fleet_of(bus)
    assert fleet.workers() == ()


async def test_code_goes_to_its_platform_and_everything_else_to_the_native_one() -> None:
    """A platform that nobody offers fails where it is tried: on the native one."""
    fleet = await fleet_of(MemoryBus(), info("a", platforms=(LINUX, ARM)))
    native, arm = subjects.exec_queue(LINUX), subjects.exec_queue(ARM)
    assert fleet.queue_for(ARM, runs_code=True) == arm
    assert fleet.queue_for(ARM, runs_code=False) == native
    assert fleet.queue_for(Platform(os="linux", architecture="s390x"), runs_code=True) == native


async def test_native_pools_come_before_emulated_ones() -> None:
    """Code for another platform runs where it is native; only without such a pool is it emulated."""
    bus = MemoryBus()
    emulator = info("a", platforms=(LINUX, ARM), emulated=(ARM,))
    alone = await fleet_of(bus, emulator)
    assert alone.queue_for(ARM, runs_code=True) == subjects.exec_queue(ARM, emulated=True)
    both = await fleet_of(bus, emulator, info("b", platforms=(ARM,)))
    assert both.queue_for(ARM, runs_code=True) == subjects.exec_queue(ARM)
    assert both.queue_for(LINUX, runs_code=True) == subjects.exec_queue(LINUX)
    assert not both.takes("a", subjects.exec_queue(ARM))
    assert both.takes("b", subjects.exec_queue(ARM))


async def test_a_class_has_queues_of_its_own() -> None:
    """Work of a class is for those who belong to it, wherever its inputs are."""
    fleet = await fleet_of(MemoryBus(), info("a"), info("b", classes=("default", "gpu")))
    queue = fleet.queue_for(LINUX, runs_code=True, klass="gpu")
    assert queue == subjects.exec_queue(LINUX, "gpu")
    assert (fleet.takes("a", queue), fleet.takes("b", queue)) == (False, True)


async def test_a_draining_executor_is_given_nothing() -> None:
    """Nor one that nobody knows."""
    fleet = await fleet_of(MemoryBus(), info("a", draining=True))
    queue = subjects.exec_queue(LINUX)
    assert (fleet.takes("a", queue), fleet.takes("b", queue)) == (False, False)


async def run_on(bus: MemoryBus, fleet: ExecutorFleet, handlers: dict[str, Run], inputs: tuple[Ref | None, ...], **op: object) -> None:
    """Run an op in this fleet; `handlers` by the subject they listen on or pull from."""
    async with Calls(bus) as calls, asyncio.TaskGroup() as tasks:
        serving = [
            tasks.create_task(
                calls.work(subject, {RunOp: handler}, slots=asyncio.Semaphore(1))
                if subject.startswith("work.")
                else calls.serve(subject, {RunOp: handler})
            )
            for subject, handler in handlers.items()
        ]
        command = Op(kind=ExecOp(meta=Meta(args=("true",)), mounts=()))
        llb = LlbOp(data=b"", **{"op": command, "platform": LINUX, **op})  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            await ExecutorWork(calls, fleet, Log()).run(VERTEX, "x", llb, inputs, None, Scope(lease="l"), lambda statuses, logs: None)
        for task in serving:
            task.cancel()


def recorded(asked: list[str], who: str, error: Exception | None = None) -> Run:
    """A handler that writes down that it was asked."""

    async def run(request: RunOp, served: Served) -> OpDone:
        asked.append(who)
        if error is not None:
            raise error
        return OpDone(outputs=(None,), executor=who)

    return run


async def test_files_made_on_nothing_are_made_together() -> None:
    """Not by way of the queue, and where others can be: only where the build's own executor has no slot, anybody does."""
    bus, asked = MemoryBus(), list[str]()
    fleet = await fleet_of(bus, info("a"), info("b"), info("c", draining=True))
    queue, files = subjects.exec_queue(LINUX), Op(kind=FileOp(actions=()))
    where = fleet.settled("l", queue)
    assert {fleet.settled(f"build {i}", queue) for i in range(50)} == {"a", "b"}
    await run_on(bus, fleet, {subjects.executor_call(where): recorded(asked, where)}, (), op=files)
    await run_on(
        bus,
        fleet,
        {subjects.executor_call(where): recorded(asked, "full", Exhausted("full")), queue: recorded(asked, "queue")},
        (),
        op=files,
    )
    assert asked == [where, "full", "queue"]
    assert fleet.settled("l", subjects.exec_queue(ARM)) == ""


async def test_a_full_home_passes_work_on_to_whoever_pulls() -> None:
    """What its inputs' executor refuses goes to the queue."""
    bus, asked = MemoryBus(), list[str]()
    fleet = await fleet_of(bus, info("a"), info("b"))
    queue = subjects.exec_queue(LINUX)
    handlers = {subjects.executor_call("a"): recorded(asked, "a", Exhausted("full")), queue: recorded(asked, "queue")}
    await run_on(bus, fleet, handlers, (Ref(id="1", home="a", size=10),))
    assert asked == ["a", "queue"]


async def test_work_moves_on_when_its_pool_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last native executor dies while something waits for it: it is emulated."""
    monkeypatch.setattr(executors, "UNSERVED", 0.01)
    bus, asked = MemoryBus(), list[str]()
    emulator, native = info("a", platforms=(LINUX, ARM), emulated=(ARM,)), info("b", platforms=(ARM,))
    fleet = await fleet_of(bus, emulator, native)
    handlers = {subjects.exec_queue(ARM, emulated=True): recorded(asked, "emulated")}
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(fleet.watch())
        running = tasks.create_task(run_on(bus, fleet, handlers, (), platform=ARM))
        async with asyncio.timeout(10):
            while not await bus.depth(subjects.exec_queue(ARM)):  # noqa: ASYNC110 (a bus has no event for it)
                await asyncio.sleep(0)
            await (await bus.bucket(subjects.KV_EXECUTORS, ttl=60.0)).delete("b")
            await running
        watching.cancel()
    assert asked == ["emulated"]


async def test_an_op_runs_where_most_of_its_inputs_are() -> None:
    """Sizes decide; an executor that is gone doesn't count."""
    bus, asked = MemoryBus(), list[str]()
    fleet = await fleet_of(bus, info("a"), info("b"))
    inputs = (Ref(id="1", home="a", size=10), Ref(id="2", home="b", size=50), Ref(id="3", home="gone", size=900), None)
    await run_on(bus, fleet, {subjects.executor_call(id): recorded(asked, id) for id in ("a", "b")}, inputs)
    assert asked == ["b"]


async def test_turns_are_those_of_the_clients_identity() -> None:
    """All builds of one certificate share one share; a build of nobody known has its own."""
    bus, asked = MemoryBus(), list[str]()
    fleet = await fleet_of(bus, info("a"))
    queue, wants = subjects.exec_queue(LINUX), list[dict[str, int]]()

    async def run(request: RunOp, served: Served) -> OpDone:
        wants.append(dict(work.admission.wants()[queue]))
        return await recorded(asked, "a")(request, served)

    async with Calls(bus) as calls, asyncio.TaskGroup() as tasks:
        work = ExecutorWork(calls, fleet, Log())
        serving = tasks.create_task(calls.work(queue, {RunOp: run}, slots=asyncio.Semaphore(1)))
        llb = LlbOp(data=b"", op=Op(kind=ExecOp(meta=Meta(args=("true",)), mounts=())), platform=LINUX)
        async with asyncio.timeout(10):
            for scope in (Scope(lease="one", identity="alice"), Scope(lease="two", identity="alice"), Scope(lease="three")):
                await work.run(VERTEX, "x", llb, (), None, scope, lambda statuses, logs: None)
        serving.cancel()

    assert wants == [{"alice": 1}, {"alice": 1}, {"three": 1}]
