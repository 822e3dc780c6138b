"""Fixtures of the real parts: each starts when the first test asks for it and ends with the session."""

import asyncio
import functools
import inspect
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.kit import images
from tests.kit.parts.dockerd import Docker, docker_engine
from tests.kit.parts.jaeger import Jaeger, jaeger_server
from tests.kit.parts.minio import S3, s3_server
from tests.kit.parts.nats import Nats, nats_server
from tests.kit.parts.registry import Registry, registry_server

LONGEST_WAIT: Final = 240.0
"""Seconds an asynchronous test may take: below pytest's own limit, which ends a test without saying where it waited."""

# A library that would send spans or ask a proxy must not do so from a test.
os.environ.setdefault("OTEL_TRACES_EXPORTER", "none")
os.environ.setdefault("NO_PROXY", "localhost,127.0.0.1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="keep what is made now as the expected answers of tests/golden")


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written anew."""
    return bool(request.config.getoption("--update-golden"))


def bounded(test: Callable[..., Coroutine[Any, Any, None]], seconds: float) -> Callable[..., Coroutine[Any, Any, None]]:
    """The test, cancelled where it waits when it takes longer: the report then shows which wait it was."""

    @functools.wraps(test)
    async def within(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(seconds):
            await test(*args, **kwargs)

    return within


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need root are skipped for anybody else; no asynchronous test waits for ever."""
    for item in items:
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = bounded(item.obj, LONGEST_WAIT)


@pytest.fixture(scope="session")
def parts_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's servers keep their files."""
    return tmp_path_factory.mktemp("parts")


@pytest.fixture(scope="session")
def nats(parts_folder: Path) -> Iterator[Nats]:
    """A nats-server with JetStream, shared: give streams and buckets names of your own."""
    with nats_server(parts_folder / "nats") as server:
        yield server


@pytest.fixture(scope="session")
def s3(parts_folder: Path) -> Iterator[S3]:
    """A MinIO, shared: give keys a prefix of your own."""
    with s3_server(parts_folder / "s3") as server:
        yield server


@pytest.fixture(scope="session")
def registry(parts_folder: Path) -> Iterator[Registry]:
    """An empty docker-registry, shared: give repositories names of your own."""
    with registry_server(parts_folder / "registry") as server:
        yield server


@pytest.fixture(scope="session")
def jaeger(parts_folder: Path) -> Iterator[Jaeger]:
    """A Jaeger all-in-one."""
    with jaeger_server(parts_folder / "jaeger") as server:
        yield server


@pytest.fixture(scope="session")
def busybox_layout() -> Path:
    """An OCI layout with a busybox image, tag `latest`. Read only: images.copy_layout makes a copy to change."""
    return images.image("busybox")


@pytest.fixture(scope="session")
def busybox(registry: Registry) -> str:
    """localhost:port/busybox:latest in the test registry."""
    return images.push("busybox", registry.host)


@pytest.fixture(scope="session")
def debian(registry: Registry) -> str:
    """localhost:port/debian:latest in the test registry: a small Debian with gcc and make."""
    return images.push("debian", registry.host)


@pytest.fixture(scope="session")
def docker(parts_folder: Path) -> Iterator[Docker]:
    """A Docker Engine of its own."""
    with docker_engine(parts_folder / "docker") as engine:
        yield engine
