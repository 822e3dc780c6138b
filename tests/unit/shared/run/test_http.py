"""Health, readiness, metrics over HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from shared.errors import InvalidInput
from shared.run.http import Answer, Request, http_server, split_host_port, standard_routes
from shared.run.mesh import Readiness
from shared.telemetry import Metrics, names


@pytest.fixture
def readiness() -> Readiness:
    return Readiness()


@pytest.fixture
async def path(tmp_path_factory: pytest.TempPathFactory, readiness: Readiness) -> AsyncIterator[str]:
    path = str(tmp_path_factory.mktemp("http") / "s")
    metrics = Metrics()
    metrics.gauge(names.SESSIONS).set(3)

    async def below(request: Request) -> Answer:
        await asyncio.sleep(0)
        return Answer(type="text/html", body=f"{request.path} {request.query.get('a')} {request.headers['x-y']}".encode())

    async with http_server(f"unix://{path}", {**standard_routes(readiness, metrics), "/ui/": below}):
        yield path


async def ask(path: str, text: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(text.encode())
    async with asyncio.timeout(5):
        answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


def get(target: str, extra: str = "") -> str:
    return f"GET {target} HTTP/1.1\r\nHost: x\r\n{extra}\r\n"


async def test_a_process_that_lives_is_healthy(path: str) -> None:
    assert await ask(path, get("/healthz")) == (200, "ok\n")


async def test_readiness_names_what_is_missing(path: str, readiness: Readiness) -> None:
    readiness.expect("solver")
    readiness.expect("bus")
    assert await ask(path, get("/readyz")) == (503, "waiting for bus, solver\n")

    readiness.up("solver")
    readiness.up("bus")
    assert await ask(path, get("/readyz")) == (200, "ready\n")

    readiness.draining.set()
    assert await ask(path, get("/readyz")) == (503, "draining\n")


async def test_metrics(path: str) -> None:
    status, body = await ask(path, get("/metrics"))

    assert status == 200
    assert "\nbuildmesh_sessions 3\n" in body


async def test_a_route_below_a_prefix(path: str) -> None:
    assert await ask(path, get("/ui/a/b?a=1", "X-Y: z\r\n")) == (200, "/ui/a/b 1 z")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (get("/nothing"), 404),
        ("POST /healthz HTTP/1.1\r\n\r\n", 405),
        ("nonsense\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nX: " + "y" * 100_000 + "\r\n\r\n", 400),
    ],
)
async def test_bad_requests(path: str, text: str, status: int) -> None:
    assert (await ask(path, text))[0] == status
    assert (await ask(path, get("/healthz")))[0] == 200


@pytest.mark.parametrize("scheme", ["", "tcp://"])
async def test_an_address_that_is_taken_is_named(scheme: str) -> None:
    """And no traceback: two daemons with the same `--http` are an everyday mistake."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"{scheme}127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(InvalidInput, match=f"can't listen on {address} .*in use"):
            async with http_server(address, {}):
                pass


def test_addresses() -> None:
    assert split_host_port("localhost:80") == ("localhost", 80)
    assert split_host_port("[::1]:80") == ("::1", 80)
    with pytest.raises(InvalidInput, match="localhost"):
        split_host_port("localhost")
