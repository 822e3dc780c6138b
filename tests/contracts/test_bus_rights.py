"""A real nats-server with one user for each service: what is not a service's to say is refused, what is its own works."""

import asyncio
import json
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from nats.errors import TimeoutError as NatsTimeout
from nats.js import api

from services.certs import main as make_certificates
from shared.bus.calls import Calls, CallSettings, Served
from shared.bus.nats import NatsBus, inboxes
from shared.bus.nats_rights import users_conf
from shared.bus.nats_streams import stream_names
from shared.errors import Unavailable
from shared.model import Platform
from shared.run.certificates import Certificates
from shared.wire import subjects
from shared.wire.messages import BridgeReadFile, FileData
from shared.wire.roles import ROLES, makes_streams
from tests.kit.parts.nats import Nats, nats_server, secured

pytestmark = pytest.mark.slow

QUEUE = subjects.exec_queue(Platform(os="linux", architecture="amd64"))
REFUSED = "TLS handshake error"
"""In the server's log."""
QUICK = CallSettings(tick=0.05, accept_after=0.05, heartbeat=0.1, resend=0.2, accept_within=3.0)

Connect = Callable[[str], Any]


def rights() -> str:
    """One user a service, by password."""
    return users_conf({name: {"user": name, "password": f"{name}-word"} for name in ROLES})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    folder = tmp_path_factory.mktemp("rights")
    (folder / "users.conf").write_text(rights())
    with nats_server(folder, config="include users.conf\n") as started:
        yield started


class Refused(list[str]):
    """What the server has refused, as it told the client."""

    async def wait(self) -> None:
        await until(lambda: bool(self))


async def until(done: Callable[[], bool]) -> None:
    """The library tells by a callback, the server by its log."""
    async with asyncio.timeout(20):
        while not done():  # noqa: ASYNC110 — neither has an event
            await asyncio.sleep(0.02)


async def try_in_vain(connecting: Coroutine[Any, Any, NatsBus], done: Callable[[], bool]) -> None:
    """It goes on trying for ever: services start in any order."""
    async with asyncio.TaskGroup() as tasks:
        trying = tasks.create_task(connecting)
        await until(done)
        assert not trying.done()
        trying.cancel()


@pytest.fixture
async def connect(server: Nats) -> AsyncIterator[Connect]:
    async with connections(server) as one:
        yield one


@asynccontextmanager
async def connections(server: Nats) -> AsyncIterator[Connect]:
    """Of services, by name."""
    async with AsyncExitStack() as stack:

        async def one(name: str, refused: Refused | None = None) -> NatsBus:
            url = server.url.replace("nats://", f"nats://{name}:{name}-word@")
            bus = await NatsBus.connect(url, name=name, complain=(refused if refused is not None else Refused()).append)
            stack.push_async_callback(bus.close)
            return bus

        yield one


FORBIDDEN = [
    pytest.param("executor", subjects.CACHE, id="an executor asks the cache as a solver does"),
    pytest.param("executor", subjects.build_bridge("b1"), id="an executor speaks as a build's client"),
    pytest.param("frontend", subjects.build_bridge("b1"), id="a frontend speaks as a build's client"),
    pytest.param("executor", subjects.EXPORTER, id="an executor orders an export"),
    pytest.param("executor", QUEUE, id="an executor queues work"),
    pytest.param("executor", subjects.build_events("b1"), id="an executor writes a build's log"),
    pytest.param("executor", subjects.LEASES, id="an executor releases leases"),
    pytest.param("executor", f"{inboxes('gateway')}.x.y.z", id="an executor answers a gateway in the solver's stead"),
    pytest.param("executor", f"$KV.{subjects.KV_SESSIONS}.s1", id="an executor announces a session"),
    pytest.param("executor", f"$KV.{subjects.KV_KEYS}.k1", id="an executor writes the cache index"),
    pytest.param("executor", "$JS.API.CONSUMER.MSG.NEXT.WORK-builds.any", id="an executor takes a build"),
    pytest.param("executor", "$JS.API.CONSUMER.CREATE.KV_executors.c", id="an executor has its own words delivered elsewhere"),
    pytest.param("executor", "$JS.API.STREAM.DELETE.WORK-builds", id="an executor deletes a queue"),
    pytest.param("executor", "$JS.API.STREAM.CREATE.KV_pulls", id="an executor makes a stream, which may say its words elsewhere"),
    pytest.param("executor", "$JS.API.STREAM.CREATE.mine", id="an executor makes one of its own"),
    pytest.param("executor", "$JS.API.STREAM.UPDATE.KV_pulls", id="an executor changes a stream"),
    pytest.param("executor", "$JS.API.STREAM.RESTORE.KV_pulls", id="an executor brings one back from a backup of its own"),
    pytest.param("exporter", "$JS.API.STREAM.CREATE.KV_sessions", id="an exporter makes a stream"),
    pytest.param("frontend", "$JS.API.STREAM.CREATE.WORK-builds", id="a frontend makes a stream"),
    pytest.param("solver", "$JS.API.STREAM.UPDATE.KV_pulls", id="a solver changes a stream"),
    pytest.param("frontend", QUEUE, id="a frontend runs a step by itself"),
    pytest.param("frontend", subjects.executor_call("e1"), id="a frontend asks an executor"),
    pytest.param("exporter", subjects.BUILDS, id="an exporter begins a build"),
    pytest.param("gateway", subjects.executor_call("e1"), id="a gateway orders an executor"),
    pytest.param("cachestore", f"{inboxes('exporter')}.x.y.z", id="a cachestore answers an exporter"),
    pytest.param("solver", f"$KV.{subjects.KV_EXECUTORS}.e1", id="a solver plays an executor"),
]


@pytest.mark.parametrize(("name", "subject"), FORBIDDEN)
async def test_what_is_not_its_own_is_refused(connect: Connect, name: str, subject: str) -> None:
    refused = Refused()
    bus = await connect(name, refused)

    await bus.publish(subject, b"forged")
    await refused.wait()

    assert subject.lower() in refused[0].lower()


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("executor", subjects.CACHE),
        ("executor", f"{inboxes('solver')}.>"),
        ("executor", subjects.build_bridge("b1")),
        ("executor", subjects.build_runs("b1")),
        ("frontend", "build.*.runs"),
        ("frontend", f"{inboxes('gateway')}.>"),
        ("gateway", subjects.FRONTEND),
        ("solver", ">"),
    ],
)
async def test_nobody_listens_where_others_are_spoken_to(connect: Connect, name: str, subject: str) -> None:
    refused = Refused()
    bus = await connect(name, refused)

    with suppress(Unavailable):
        async with bus.subscribe(subject):
            await refused.wait()

    assert "subscription" in refused[0].lower()


async def test_strangers_stay_outside(server: Nats) -> None:
    """Without a password, and with another's name, there is no connection at all."""
    for url in (server.url, server.url.replace("nats://", "nats://solver:executor-word@")):
        refused = Refused()
        await try_in_vain(NatsBus.connect(url, name="solver", complain=refused.append), lambda refused=refused: bool(refused))
        assert "authorization" in refused[0].lower()


async def echo(request: BridgeReadFile, served: Served) -> FileData:
    await asyncio.sleep(0.15)  # long enough to be accepted first
    return FileData(data=request.path.encode())


@pytest.mark.parametrize(
    ("asker", "server_name", "subject"),
    sorted(
        (asker, answering, subject.replace("*", "x1").replace(">", "default.linux-amd64"))
        for asker, a in ROLES.items()
        for subject in a.asks
        for answering, b in ROLES.items()
        if subject in b.answers
    ),
)
async def test_every_call_of_the_table_works(connect: Connect, asker: str, server_name: str, subject: str) -> None:
    """Question, heartbeats and answer; from queues as well."""
    refused = Refused()
    async with (
        Calls(await connect(asker, refused), settings=QUICK) as client,
        Calls(await connect(server_name, refused), settings=QUICK) as worker,
        asyncio.TaskGroup() as tasks,
        asyncio.timeout(20),
    ):
        handlers = {BridgeReadFile: echo}
        queued = subject.startswith("work.")
        serving = worker.work(subject, handlers, slots=asyncio.Semaphore(1)) if queued else worker.serve(subject, handlers)
        task = tasks.create_task(serving)
        ask = client.run if queued else client.call
        answer = await ask(subject, BridgeReadFile(ref="r", path="words"))
        task.cancel()

    assert (answer.data, refused) == (b"words", [])


@pytest.mark.parametrize("name", sorted(ROLES))
async def test_every_bucket_and_log_of_the_table_works(connect: Connect, name: str) -> None:
    """Written and read by its owner, read by the others; logs likewise. Who must not make one gets it made."""
    refused, role = Refused(), ROLES[name]
    bus = await connect(name, refused)
    await connect("solver", refused)
    async with asyncio.timeout(20):
        for bucket in sorted(role.watches | role.writes):
            opened = await bus.bucket(bucket)
            if bucket in role.writes:
                await opened.put(f"{name}-key", b"1")
                await opened.create(f"{name}-key", b"2")
                await opened.delete(f"{name}-other")
            await opened.get(f"{name}-key")
            if bucket in role.watches:
                await opened.entries()
        if role.appends:
            await bus.append(subjects.build_events(f"of-{name}"), b"1")
        if role.follows:
            async with bus.follow(subjects.build_events(f"of-{name}")) as log:
                async for entry in log:
                    assert entry.data == b"1"
                    break

    assert refused == []


@pytest.mark.parametrize("name", sorted(name for name in ROLES if makes_streams(name)))
async def test_who_may_make_streams_makes_all_of_them(tmp_path: Path, name: str) -> None:
    """On a server of its own, as after the loss of the folder: an executor comes first."""
    (tmp_path / "users.conf").write_text(rights())
    with nats_server(tmp_path, config="include users.conf\n") as server:
        refused = Refused()
        async with asyncio.timeout(20), connections(server) as one:
            executor, _ = await one("executor", refused), await one(name, refused)
            while len(made := await asyncio.to_thread(streams_of, server)) < len(stream_names()):
                for stream in ("KV_evil", *stream_names()):  # again and again, as those do who wait
                    await executor.publish(subjects.WANTED, stream.encode())
                await asyncio.sleep(0.1)

    assert sorted(made) == sorted(stream_names())
    assert [name for name, config in made.items() if config.keys() & {"republish", "mirror", "sources"}] == []
    assert refused == []


def streams_of(server: Nats) -> dict[str, dict[str, Any]]:
    """Their configurations, as the server tells."""
    with urllib.request.urlopen(f"{server.monitor}/jsz?accounts=true&streams=true&config=true", timeout=5) as answer:
        accounts = json.load(answer)["account_details"]
    return {stream["name"]: stream["config"] for account in accounts for stream in account.get("stream_detail", [])}


async def test_a_taken_executor_speaks_through_no_stream(tmp_path: Path) -> None:
    """It comes first, and would have what it writes to its bucket said again as a solver's word."""
    (tmp_path / "users.conf").write_text(rights())
    with nats_server(tmp_path, config="include users.conf\n") as server:
        refused = Refused()
        async with asyncio.timeout(20), connections(server) as one:
            executor, solver = await one("executor", refused), await one("solver")
            evil = api.StreamConfig(
                name="KV_pulls", subjects=["$KV.pulls.>"], republish=api.RePublish(src="$KV.pulls.>", dest=subjects.LEASES)
            )
            with pytest.raises(NatsTimeout):
                await executor._nc.jetstream(timeout=0.5).add_stream(evil)
            async with (await one("cachestore")).subscribe(subjects.LEASES) as leases:
                await (await executor.bucket(subjects.KV_PULLS)).put("k", b"release all")
                await solver.publish(subjects.LEASES, b"the solver's own")
                heard = await anext(aiter(leases))

    assert heard.data == b"the solver's own"
    assert "STREAM.CREATE.KV_pulls".lower() in refused[0].lower()


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nats, Path]]:
    """A server that knows services by certificate, and the folder with all of them."""
    folder = tmp_path_factory.mktemp("certified")
    assert make_certificates(["--out", str(folder / "certs")]) == 0
    with nats_server(folder, config=secured(folder / "certs")) as started:
        yield started, folder / "certs"


async def test_a_certificate_is_a_user(certified: tuple[Nats, Path]) -> None:
    """What it may say is the executor's, whatever it calls itself."""
    server, certs = certified
    refused = Refused()
    tls = Certificates(folder=certs / "executor").client()
    bus = await NatsBus.connect(server.url, name="executor", tls=tls, server_name="nats.buildmesh", complain=refused.append)

    await bus.publish(subjects.NEIGHBOURS, b"e1")
    await bus.publish(subjects.CACHE, b"forged")
    await refused.wait()
    await bus.close()

    assert len(refused) == 1
    assert subjects.CACHE in refused[0]


@pytest.mark.parametrize("who", ["nobody", "clients/me"])
async def test_without_a_certificate_of_the_mesh_there_is_no_bus(certified: tuple[Nats, Path], who: str) -> None:
    """As a step's container would try it, or a client of the gateway."""
    server, certs = certified
    context = ssl.create_default_context(cafile=str(certs / "nats/ca.pem"))
    if who != "nobody":
        context.load_cert_chain(certs / who / "cert.pem", certs / who / "key.pem")
    before = server.part.said().count(REFUSED)

    def again() -> bool:
        return server.part.said().count(REFUSED) >= before + 2

    await try_in_vain(NatsBus.connect(server.url, name="solver", tls=context, server_name="nats.buildmesh"), again)


async def test_a_server_that_is_not_the_bus_is_not_believed(certified: tuple[Nats, Path]) -> None:
    """Another part of the fleet can't stand in for it: its certificate has another name."""
    server, certs = certified
    refused = Refused()
    tls = Certificates(folder=certs / "solver").client()
    trying = NatsBus.connect(server.url, name="solver", tls=tls, server_name="minio.buildmesh", complain=refused.append)
    await try_in_vain(trying, lambda: bool(refused))

    assert "hostname mismatch" in refused[0].lower()
