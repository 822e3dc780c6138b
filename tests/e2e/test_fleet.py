"""Six processes over NATS and MinIO: death of an executor, one trace of all, no trace of a secret."""

import asyncio
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.test_failures import sleeping, wait_until
from tests.kit.clients import Buildctl
from tests.kit.driven import driven
from tests.kit.frontend_images import scripted_frontend
from tests.kit.parts.jaeger import Jaeger
from tests.kit.parts.minio import s3_server
from tests.kit.parts.nats import nats_server
from tests.kit.parts.process import child
from tests.kit.parts.registry import Registry
from tests.kit.stack import SERVICES, Stack, stack

pytestmark = [pytest.mark.root, pytest.mark.slow]

Make = Callable[..., Path]
UNITS = {"B": 1, "kB": 1_000, "MB": 1_000_000}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, jaeger: Jaeger) -> Iterator[Stack]:
    """Two gateways, solvers and executors, one of all others; spans go to Jaeger."""
    folder = tmp_path_factory.mktemp("fleet")
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{jaeger.otlp_grpc}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_TRACES_EXPORTER": "otlp",
    }
    with (
        nats_server(folder / "nats") as nats,
        s3_server(folder / "s3") as s3,
        stack(folder / "stack", nats=nats, s3=s3, counts={"executor": 2, "solver": 2, "gateway": 2}, env=env) as mesh,
    ):
        yield mesh


@pytest.fixture
def client(fleet: Stack, tmp_path: Path) -> Buildctl:
    return Buildctl(addr=fleet.addr, work=tmp_path / "buildctl")


def sleepers(mark: str) -> list[Path]:
    """The processes `sleep MARK`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if entry.read_bytes().split(b"\0")[:2] == [b"sleep", mark.encode()]:
                found.append(entry.parent)
    return found


def executor_of(fleet: Stack, mark: str) -> str:
    """The executor in whose container `sleep MARK` runs."""
    for process in sleepers(mark):
        with suppress(OSError):
            return holder(fleet, process)
    raise AssertionError(f"nobody sleeps {mark}")


def holder(fleet: Stack, process: Path) -> str:
    """The step's root is an overlay whose folders belong to an executor's state."""
    mounts = (process / "mountinfo").read_text()
    for name in fleet.parts:
        if name.startswith("executor") and str(fleet.folder / name) in mounts:
            return name
    raise AssertionError("no executor holds this root")


def runs_elsewhere(fleet: Stack, mark: str, victim: str) -> bool:
    """Whether somebody sleeps MARK on another executor than this one (whose orphans go on for a while)."""
    with suppress(AssertionError, OSError):
        return any(holder(fleet, process) != victim for process in sleepers(mark))
    return False


def test_executor_dies_and_the_build_goes_on(fleet: Stack, client: Buildctl, context: Make, busybox: str) -> None:
    """kill -9 in the middle of a RUN: the other executor does it, from inputs that it makes anew."""
    mark = f"7.{time.time_ns() % 10**7}"
    folder = context(
        f"FROM {busybox}\nRUN echo before > /before\nRUN sleep {mark}; cat /before > /after\nFROM scratch\nCOPY --from=0 /after /\n"
    )
    argv = [*client.build_argv(folder), "--output", f"type=local,dest={folder.parent}/out"]
    log = folder.parent / "client.log"
    with log.open("wb") as sink, child(argv, seconds=180, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink) as build:
        wait_until(lambda: sleeping(mark), 30)
        victim = executor_of(fleet, mark)
        fleet.kill(victim)
        code = build.wait(90)
    fleet.start(victim)
    fleet.ready(victim)

    assert code == 0, log.read_text()[-4000:]
    assert (folder.parent / "out/after").read_text() == "before\n"


def test_what_a_dead_executor_made_is_not_made_again(fleet: Stack, client: Buildctl, context: Make, busybox: str, tmp_path: Path) -> None:
    """Its results were published while the build went on: after kill -9 another executor goes on from them."""
    mark = f"9.{time.time_ns() % 10**7}"
    folder = context(
        f"FROM {busybox}\nRUN echo made-$(cat /proc/sys/kernel/random/uuid) | tee /made {time.time_ns()}\n"
        f"RUN sleep {mark}; echo then-$(cat /made)\nFROM scratch\nCOPY --from=0 /made /\n"
    )
    argv = [*client.build_argv(folder), "--output", f"type=local,dest={tmp_path}/out"]
    before = published(fleet)
    log = tmp_path / "client.log"
    with log.open("wb") as sink, child(argv, seconds=180, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink) as build:
        wait_until(lambda: sleeping(mark), 30)
        wait_until(lambda: published(fleet) > before, 30)
        victim = executor_of(fleet, mark)
        fleet.kill(victim)
        code = build.wait(90)
    fleet.start(victim)
    fleet.ready(victim)

    said = log.read_text()
    assert code == 0, said[-4000:]
    assert len(set(re.findall(r"\bmade-[0-9a-f]{8}-[0-9a-f-]*", said))) == 1
    assert (tmp_path / "out/made").read_text().startswith("made-")


def published(fleet: Stack) -> int:
    """How often executors told that results of theirs are in the blob store."""
    return sum(part.said().count('msg="published"') for name, part in fleet.parts.items() if "executor" in name)


def test_equal_steps_of_many_builds_run_once(fleet: Stack, context: Make, busybox: str, tmp_path: Path) -> None:
    """Eight clients on two gateways, builds on two solvers: each step runs once, and every client sees its output."""
    folder = context(
        f"FROM {busybox}\nRUN sleep 1; echo ran-$(cat /proc/sys/kernel/random/uuid) {time.time_ns()}\n"
        "RUN sleep 0.5; echo then-$(cat /proc/sys/kernel/random/uuid)\n"
    )
    addresses = [fleet.addr, f"unix://{fleet.folder}/gateway-1.sock"]
    clients = [Buildctl(addr=addresses[i % 2], work=tmp_path / f"client-{i}") for i in range(8)]
    with ThreadPoolExecutor(len(clients)) as pool:
        said = [built.said for built in pool.map(lambda each: each.build(folder), clients)]

    for word in ("ran", "then"):
        assert len({mark for text in said for mark in re.findall(rf"\b{word}-[0-9a-f]{{8}}-[0-9a-f-]*", text)}) == 1
        assert all(re.search(rf"\b{word}-[0-9a-f]{{8}}-", text) for text in said)
    assert all("build done" in fleet.parts[name].said() for name in ("solver-0", "solver-1"))


def test_a_result_is_everybodys_at_once(fleet: Stack, context: Make, busybox: str, tmp_path: Path) -> None:
    """Built through one gateway it is cached for a client of the other, whichever solvers and executors they meet."""
    addresses = [fleet.addr, f"unix://{fleet.folder}/gateway-1.sock"] * 3
    folder = context(f"FROM {busybox}\nRUN echo {time.time_ns()} > /a\nRUN cat /a > /b\n")
    ran = [Buildctl(addr=address, work=tmp_path / f"{i}").build(folder).ran() for i, address in enumerate(addresses)]
    assert [len(steps) for steps in ran] == [2, 0, 0, 0, 0, 0]


def test_a_cache_mount_is_warm_where_it_was_never_used(fleet: Stack, client: Buildctl, context: Make, busybox: str, tmp_path: Path) -> None:
    """And what a step that was killed had written to it is not among what the next executor finds; a prune ends it everywhere."""
    mark = f"3.{time.time_ns() % 10**7}"
    mount = f"RUN --mount=type=cache,id={mark},target=/c"
    told = mounts_kept(fleet)
    client.build(context(f"FROM {busybox}\n{mount} echo {mark} > /c/good\n"))
    wait_until(lambda: mounts_kept(fleet) > told, 30)
    folder = context(f"FROM {busybox}\n{mount} echo sees-$(ls /c | tr '\\n' '-'); echo > /c/half; sleep {mark}\n")
    log = tmp_path / "client.log"
    with log.open("wb") as sink, child(client.build_argv(folder), seconds=180, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink) as build:
        wait_until(lambda: sleeping(mark), 30)
        victim = executor_of(fleet, mark)
        fleet.kill(victim)
        code = build.wait(90)
    fleet.start(victim)
    fleet.ready(victim)

    said = log.read_text()
    assert code == 0, said[-4000:]
    assert re.findall(r" (sees-\S*)$", said, re.MULTILINE) == ["sees-good-"] * 2

    client.call("prune", "--filter", "type==exec.cachemount")
    said = client.build(context(f"FROM {busybox}\n{mount} : {mark}; echo pruned-$(ls /c | tr '\\n' '-')\n")).said
    assert re.findall(r" (pruned-\S*)$", said, re.MULTILINE) == ["pruned-"], "neither here nor from the blob store"


def mounts_kept(fleet: Stack) -> int:
    """How often executors have put a snapshot of a cache mount into the blob store."""
    return sum(part.said().count('msg="cache mount kept"') for name, part in fleet.parts.items() if "executor" in name)


def test_a_frontend_whose_executor_dies_runs_on_another(
    fleet: Stack, client: Buildctl, registry: Registry, context: Make, tmp_path: Path
) -> None:
    """kill -9 under an image frontend: within seconds it runs elsewhere, and the build ends with its answer."""
    mark = f"6.{time.time_ns() % 10**7}"
    image = scripted_frontend(tmp_path / "image", f"sleep {mark}; exit 3", f"{registry.host}/dying-frontend:latest")
    argv = client.build_argv(context("FROM scratch\n"), "--frontend=gateway.v0", "--opt", f"source={image}")
    log = tmp_path / "client.log"
    with log.open("wb") as sink, child(argv, seconds=180, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink) as build:
        wait_until(lambda: sleeping(mark), 30)
        victim = executor_of(fleet, mark)
        fleet.kill(victim)
        wait_until(lambda: runs_elsewhere(fleet, mark, victim), 20)
        code = build.wait(60)
    fleet.start(victim)
    fleet.ready(victim)

    assert code == 1
    assert "exit code: 3" in log.read_text(), log.read_text()[-4000:]


async def test_a_process_whose_executor_dies_has_an_end(fleet: Stack, busybox: str) -> None:
    """kill -9 under a container of NewContainer: its process ends with an error that says what happened; a new container works."""
    mark = f"60.{time.time_ns() % 10**7}"
    async with driven(fleet.addr) as driver, driver.processes() as processes:
        image = await driver.image(busybox)
        running = await processes.start(await driver.container(image), ["sleep", mark])
        await asyncio.to_thread(wait_until, lambda: bool(sleepers(mark)), 20)
        victim = executor_of(fleet, mark)
        fleet.kill(victim)
        async with asyncio.timeout(20):
            ended = await processes.wait(running)
        again = await processes.run(await driver.container(image), ["true"])
    fleet.start(victim)
    fleet.ready(victim)

    assert ended.code == 255
    assert re.search(r"the executor \S+ that runs the container is gone", ended.error), ended.error
    assert again.code == 0, again


def test_only_changes_of_a_context_travel(fleet: Stack, context: Make, tmp_path: Path) -> None:
    """Whichever gateway, solver and executors the next builds meet: the directory goes where its last state is."""
    addresses = [fleet.addr, f"unix://{fleet.folder}/gateway-1.sock"] * 2
    folder = context("FROM scratch\nCOPY . /\n", {"large": random.Random(time.time_ns()).randbytes(3_000_000)}, name="moving")
    sent = []
    for number, address in enumerate(addresses):
        (folder / "small").write_text(f"{number} {time.time_ns()}")
        said = Buildctl(addr=address, work=tmp_path / f"{number}").build(folder).said
        sent.append(max(float(n) * UNITS[unit] for n, unit in re.findall(r"transferring context: ([0-9.]+)(B|kB|MB)", said)))
    assert sent[0] > 2_900_000
    assert max(sent[1:]) < 100_000, sent


def test_one_trace_has_all_services(fleet: Stack, context: Make, busybox: str, jaeger: Jaeger, tmp_path: Path) -> None:
    """buildctl's own spans and those of the six services share one trace id."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{jaeger.otlp_grpc}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_TRACES_EXPORTER": "otlp",
    }
    client = Buildctl(addr=fleet.addr, work=tmp_path / "traced", env=env)
    client.build(context(f"FROM {busybox}\nRUN echo {time.time_ns()} > /x\n"), "--output", f"type=oci,dest={tmp_path}/image.tar")

    def complete() -> bool:
        return any(len(services_in(trace)) >= len(SERVICES) + 1 for trace in jaeger.traces("buildctl"))

    wait_until(complete, 30)


def services_in(trace: dict[str, object]) -> set[str]:
    """Names of the services that have spans in a trace."""
    processes = trace["processes"]
    assert isinstance(processes, dict)
    return {str(process["serviceName"]) for process in processes.values()}


def test_secret_is_nowhere(fleet: Stack, client: Buildctl, context: Make, busybox: str, jaeger: Jaeger, tmp_path: Path) -> None:
    """After a build that used it (and one that failed with it): not in streams, blobs, index, state, logs or traces."""
    canary = f"canary-{time.time_ns()}-secret"
    (tmp_path / "secret").write_text(canary)
    use = 'RUN --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=token test -n "$TOKEN" && test -s /run/secrets/token'
    secret = ("--secret", f"id=token,src={tmp_path}/secret")

    client.build(context(f"FROM {busybox}\n{use}\n"), *secret)
    with pytest.raises(Exception, match="exit code: 3"):
        client.build(context(f"FROM {busybox}\n{use} && exit 3\n", name="failing"), *secret)

    assert found_in(fleet.folder, canary) == []
    assert found_in(fleet.nats.store, canary) == []
    assert found_in(fleet.s3.data, canary) == []
    assert canary not in str([jaeger.traces(service) for service in jaeger.services()])


def found_in(folder: Path, words: str) -> list[str]:
    """Files below a folder that hold these bytes."""
    done = subprocess.run(["grep", "-rlaF", "--", words, str(folder)], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.splitlines()


def test_order_of_start_does_not_matter(fleet: Stack, client: Buildctl, context: Make, busybox: str) -> None:
    """Every process but the gateway is stopped and started in the opposite order; each ends with 0 on SIGTERM."""
    names = [name for name in fleet.parts if not name.startswith("gateway")]
    codes = {name: fleet.stop(name) for name in names}
    for name in reversed(names):
        fleet.start(name)
    for name in names:
        fleet.ready(name)

    client.build(context(f"FROM {busybox}\nRUN echo restarted > /x\n"))
    assert codes == dict.fromkeys(names, 0)


def test_who_has_no_key_of_the_blob_store_takes_no_work(fleet: Stack, client: Buildctl, context: Make, busybox: str) -> None:
    """An executor and an exporter that would fail all that they take are not among those that are asked; they stop at once when told to."""
    before = client.call("debug", "workers")
    given, fleet.environment = fleet.environment, {**fleet.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}
    names = ("executor-9", "exporter-9")
    try:
        parts = [fleet.start(name) for name in names]
    finally:
        fleet.environment = given
    for part in parts:
        wait_until(lambda part=part: "waiting for the blob store" in part.log.read_text(), 20)  # type: ignore[misc]
    for number in range(3):
        client.build(context(f"FROM {busybox}\nRUN echo {number} {time.time_ns()} > /x\n"), "--output", "type=oci,dest=/dev/null")
    asked, ready = client.call("debug", "workers"), [fleet.is_ready(name) for name in names]
    begun = time.monotonic()
    codes = [fleet.stop(name) for name in names]

    assert sorted(asked.splitlines()) == sorted(before.splitlines())
    assert not any(ready)
    assert (codes, time.monotonic() - begun < 10) == ([0, 0], True)
