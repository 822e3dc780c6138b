"""The bus is a hint: nats-server is killed, its JetStream folder too, and those who use the bus go on."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from shared.bus import nats_streams
from shared.bus.calls import Calls, CallSettings, Served
from shared.bus.nats import NatsBus
from shared.bus.nats_rights import users_conf
from shared.errors import Unavailable
from shared.wire import subjects
from shared.wire.messages import BridgeReadFile, FileData
from shared.wire.roles import ROLES
from tests.kit.parts.nats import Nats, nats_server

pytestmark = pytest.mark.slow


class Server:
    """A nats-server of this test's own."""

    def __init__(self, folder: Path, stack: ExitStack, config: str = "") -> None:
        self._folder, self._stack, self._config = folder, stack, config
        self.nats: Nats = stack.enter_context(nats_server(folder, config=config))

    def url_of(self, service: str) -> str:
        """With its password, where there are rights."""
        return self.nats.url.replace("//", f"//{service}:word@")

    def again(self, *, wiped: bool) -> None:
        self.nats.part.kill()
        if wiped:
            shutil.rmtree(self.nats.store)
        self._stack.enter_context(nats_server(self._folder, port=int(self.nats.url.rpartition(":")[2]), config=self._config))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with ExitStack() as stack:
        yield Server(tmp_path, stack)


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[NatsBus]:
    bus = await NatsBus.connect(server.nats.url, ack_wait=1.0)
    yield bus
    await bus.close()


@pytest.mark.parametrize("wiped", [False, True])
async def test_work_logs_and_buckets_go_on(server: Server, wiped: bool) -> None:
    async with connected(server) as bus:
        bucket = await bus.bucket("kept")
        beating = await bus.bucket("beating", ttl=5.0)
        await bucket.put("before", b"1")
        await beating.put("other", b"1")
        await beating.put("ended", b"1")
        await beating.delete("ended")
        await beating.put("handed-on", b"1")
        beating.disown("handed-on")
        async with connected(server) as owner:  # who has it now ends it
            await (await owner.bucket("beating", ttl=5.0)).delete("handed-on")
        await bus.append("build.a.events", b"1")
        async with asyncio.timeout(30), bus.follow("build.a.events") as log, beating.watch() as changes:
            entries, told = aiter(log), aiter(changes)
            assert (await anext(entries)).data == b"1"
            assert (await anext(told))[0] == "other"

            await asyncio.to_thread(server.again, wiped=wiped)

            await _until(lambda: bus.append("build.a.events", b"2"))
            await _until(lambda: beating.put("mine", b"1"))
            assert (await anext(entries)).data == b"2"
            while (await anext(told))[0] != "mine":
                pass
            assert [e.key for e in await beating.entries()] == ["mine", "other"]  # what this process announced stands again

            await _until(lambda: bus.enqueue("work.x", b"job", key="k"))
            lease = await bus.pull("work.x", within=10)
            assert lease is not None
            await lease.done()
            await _until(lambda: bucket.put("after", b"1"))
            assert [e.key for e in await bucket.entries()] == (["after"] if wiped else ["after", "before"])


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Server]:
    """With rights: a service that tried to make a stream would be refused."""
    (tmp_path / "users.conf").write_text(users_conf({name: {"user": name, "password": "word"} for name in ROLES}))
    with ExitStack() as stack:
        yield Server(tmp_path, stack, "include users.conf\n")


async def test_who_must_not_make_streams_waits_for_who_may(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes first, and after a loss; what it waits for is said, and an operation has an end."""
    server = guarded
    monkeypatch.setattr(nats_streams, "WAIT", 0.5)
    said: list[str] = []
    executor = await NatsBus.connect(server.url_of("executor"), name="executor", complain=said.append)
    with pytest.raises(Unavailable, match="WORK-exec is not there yet: this service waits for a gateway, solver or cachestore"):
        await executor.pull("work.exec.default.linux-amd64", within=1)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(executor.bucket(subjects.KV_PULLS, ttl=6.0))
        while not any("KV_pulls" in text for text in said):  # noqa: ASYNC110 — a callback of the library
            await asyncio.sleep(0.02)
        assert not opening.done()
        solver = await NatsBus.connect(server.url_of("solver"), name="solver", complain=said.append)
        bucket = await opening
        await bucket.put("k", b"1")

        await asyncio.to_thread(server.again, wiped=True)

        await _until(lambda: bucket.put("k", b"2"))
        await _until(lambda: executor.pull("work.exec.default.linux-amd64", within=0.1))
    await executor.close()
    await solver.close()
    assert [text for text in said if "not there yet" not in text] == []


async def _until(operation) -> None:  # type: ignore[no-untyped-def]
    """As a service does: what failed is tried again."""
    while True:
        try:
            await operation()
            return
        except Unavailable:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("wiped", [False, True])
async def test_a_call_that_was_under_way_ends_well(server: Server, wiped: bool) -> None:
    go_on = asyncio.Event()

    async def slow(request: BridgeReadFile, served: Served) -> FileData:
        await go_on.wait()
        return FileData(data=b"x")

    settings = CallSettings(tick=0.05, silence=20.0, requeue=1.0)
    async with (
        connected(server) as one,
        connected(server) as two,
        Calls(one, settings=settings) as asker,
        Calls(two, settings=settings) as answerer,
        asyncio.TaskGroup() as tasks,
    ):
        serving = [
            tasks.create_task(answerer.serve("call.x", {BridgeReadFile: slow})),
            tasks.create_task(answerer.work("work.y", {BridgeReadFile: slow}, slots=asyncio.Semaphore(4))),
        ]
        asked = [
            tasks.create_task(asker.call("call.x", BridgeReadFile(ref="r", path="p"))),
            tasks.create_task(asker.run("work.y", BridgeReadFile(ref="r", path="p"))),
        ]
        await asyncio.sleep(1)
        await asyncio.to_thread(server.again, wiped=wiped)
        await asyncio.sleep(1)
        go_on.set()
        async with asyncio.timeout(30):
            assert [(await task).data for task in asked] == [b"x", b"x"]
        for task in serving:
            task.cancel()


async def test_work_that_comes_when_nobody_pulls_any_more_goes_to_the_next_one(server: Server) -> None:
    """A service that is told to stop leaves its question at the server; what that gives to it is handed back at once."""
    lost = []
    stopping = await NatsBus.connect(server.nats.url, ack_wait=60.0)
    other = await NatsBus.connect(server.nats.url, ack_wait=60.0)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for number in range(20):
            pulling = tasks.create_task(stopping.pull("work.x", within=5))
            await asyncio.sleep(0.05)
            await other.enqueue("work.x", b"job", key=f"k{number}")
            await asyncio.sleep(number % 5 * 0.0005)
            pulling.cancel()
            await asyncio.wait([pulling])
            lease = pulling.result() if not pulling.cancelled() else await other.pull("work.x", within=2)
            if lease is None:
                lost.append(number)
            else:
                await lease.done()
    await stopping.close()
    await other.close()
    assert lost == []
