"""Who gets a piece of work."""

from services.solver.adapters.executors import ExecutorFleet, ExecutorWork
from services.solver.core.graph import LlbOp
from shared.bus.calls import Calls, Served
from shared.bus.memory import MemoryBus
from shared.llb import Op, SourceOp, encode_op
from shared.model import Digest, Platform, Ref
from shared.telemetry import Log
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.messages import ExecutorInfo, OpDone, RunOp, Scope

LINUX = Platform(os="linux", architecture="amd64")
ARM = Platform(os="linux", architecture="arm64")
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


async def test_the_first_executor_gives_the_default_platform() -> None:
    """By id, so that it stays the same."""
    fleet = await fleet_of(MemoryBus(), info("b", platforms=(ARM,)), info("a"))
    assert fleet.default_platform() == LINUX
    assert [worker.id for worker in fleet.workers()] == ["a", "b"]


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


async def test_a_full_executor_passes_work_on_only_while_another_has_room() -> None:
    """Full by its own word, or by what we gave it; draining counts as full."""
    alone = await fleet_of(MemoryBus(), info("a", busy=2))
    assert alone.takes_more("a", 5)
    two = await fleet_of(MemoryBus(), info("a", busy=2), info("b"))
    assert not two.takes_more("a", 0)
    assert two.takes_more("b", 0)
    assert not two.takes_more("b", 2) or two.takes_more("a", 0) is False
    draining = await fleet_of(MemoryBus(), info("a", draining=True), info("b"))
    assert not draining.takes_more("a", 0)
    crowded = await fleet_of(MemoryBus(), info("a", busy=2), info("b", busy=2))
    assert crowded.takes_more("a", 0)


async def test_an_op_runs_where_most_of_its_inputs_are() -> None:
    """Sizes decide; an executor that is gone doesn't count."""
    bus = MemoryBus()
    fleet = await fleet_of(bus, info("a"), info("b"))
    asked: list[str] = []
    async with Calls(bus) as calls:
        import asyncio

        async with asyncio.TaskGroup() as tasks:

            def answer(who: str) -> object:
                async def run(request: RunOp, served: Served) -> OpDone:
                    asked.append(who)
                    return OpDone(outputs=(None,), executor=who)

                return run

            serving = [
                tasks.create_task(calls.serve(subjects.executor_call(id), {RunOp: answer(id)}))  # type: ignore[dict-item]
                for id in ("a", "b")
            ]
            op = Op(kind=SourceOp(identifier="docker-image://x"))
            llb = LlbOp(op=op, data=encode_op(op), platform=LINUX)
            work = ExecutorWork(calls, fleet, Log())
            inputs = (Ref(id="1", home="a", size=10), Ref(id="2", home="b", size=50), Ref(id="3", home="gone", size=900), None)
            async with asyncio.timeout(10):
                await work.run(VERTEX, "x", llb, inputs, None, Scope(lease="l"), lambda statuses, logs: None)
            for task in serving:
                task.cancel()
    assert asked == ["b"]
