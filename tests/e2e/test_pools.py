"""Executors of several platforms and classes: each step runs where it belongs."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.test_failures import sleeping, wait_until
from tests.e2e.test_fleet import executor_of
from tests.kit.clients import Buildctl
from tests.kit.parts.minio import s3_server
from tests.kit.parts.nats import nats_server
from tests.kit.parts.process import child
from tests.kit.stack import Stack, stack

pytestmark = [pytest.mark.root, pytest.mark.slow]

Make = Callable[..., Path]
SETTINGS = {
    "executor-0": {"platforms": [{"os": "linux", "architecture": "amd64"}]},
    "executor-1": {"platforms": [{"os": "linux", "architecture": "arm64"}]},  # as far as it says
    "executor-2": {"classes": ["big"], "labels": [["gpu", "true"]], "platforms": [{"os": "linux", "architecture": "amd64"}]},
}


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("pools")
    with (
        nats_server(folder / "nats") as nats,
        s3_server(folder / "s3") as s3,
        stack(folder / "stack", nats=nats, s3=s3, counts={"executor": 3}, settings=SETTINGS) as mesh,
    ):
        yield mesh


@pytest.mark.parametrize(
    ("options", "executor"),
    [
        ((), "executor-0"),
        (("--opt", "platform=linux/amd64"), "executor-0"),
        (("--opt", "platform=linux/arm64"), "executor-1"),
        (("--opt", "executor-class=big"), "executor-2"),
        (("--opt", "build-arg:BUILDMESH_EXECUTOR_CLASS=gpu"), "executor-2"),
    ],
)
def test_a_step_runs_where_it_belongs(
    pools: Stack, context: Make, busybox: str, tmp_path: Path, options: tuple[str, ...], executor: str
) -> None:
    """The file that it copies was made on another executor, maybe; the one that it makes is found by the client."""
    mark = f"4.{time.time_ns() % 10**7}"
    folder = context(f"FROM {busybox}\nCOPY given /given\nRUN sleep {mark} & cat /given > /made; wait\nRUN cat /made\n", {"given": mark})
    client = Buildctl(addr=pools.addr, work=tmp_path / "client")
    argv = [*client.build_argv(folder), *options]
    log = tmp_path / "client.log"
    with log.open("wb") as sink, child(argv, seconds=180, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink) as build:
        wait_until(lambda: sleeping(mark) or build.poll() is not None, 60)
        assert build.poll() is None, log.read_text()[-3000:]
        assert executor_of(pools, mark) == executor
        assert build.wait(60) == 0, log.read_text()[-3000:]
    assert mark in log.read_text()
