"""A small HTTP/1.1 server for health, readiness, metrics and a few pages: GET only, one answer a connection, no body accepted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from shared.errors import InvalidInput
from shared.run.mesh import Readiness
from shared.telemetry import Metrics

MAX_HEAD = 16 * 1024
SECONDS = 10.0
_PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked: `query` with the last value of each name; header names in lower case."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is said."""

    status: int = 200
    type: str = "text/plain; charset=utf-8"
    body: bytes = b""


Route = Callable[[Request], Awaitable[Answer] | Answer]


def standard_routes(readiness: Readiness, metrics: Metrics) -> dict[str, Route]:
    """`/healthz` (the process lives), `/readyz` (it can work), `/metrics`."""

    def health(request: Request) -> Answer:
        return Answer(body=b"ok\n")

    def ready(request: Request) -> Answer:
        if readiness.ready:
            return Answer(body=b"ready\n")
        why = "draining" if readiness.draining.is_set() else "waiting for " + ", ".join(readiness.missing())
        return Answer(status=503, body=(why + "\n").encode())

    def figures(request: Request) -> Answer:
        return Answer(type="text/plain; version=0.0.4; charset=utf-8", body=metrics.render().encode())

    return {"/healthz": health, "/livez": health, "/readyz": ready, "/metrics": figures}


@asynccontextmanager
async def http_server(address: str, routes: Mapping[str, Route]) -> AsyncIterator[None]:
    """Serve on `host:port`, `tcp://host:port` or `unix:///path` while the block runs. A route ending in `/` serves what is below it.
    Raises InvalidInput naming an address that can't be had."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                answer = await _answer(reader, routes)
                writer.write(_encoded(answer))
                await writer.drain()
        except (TimeoutError, ConnectionError):
            pass  # the asker is gone or too slow; nothing is owed to it
        finally:
            writer.close()

    try:
        if address.startswith("unix://"):
            server = await asyncio.start_unix_server(connected, address.removeprefix("unix://"), limit=MAX_HEAD)
        else:
            host, port = split_host_port(address.removeprefix("tcp://"))
            server = await asyncio.start_server(connected, host, port, limit=MAX_HEAD)
    except OSError as error:
        raise InvalidInput(f"can't listen on {address} (http): {error.strerror or error}") from None
    try:
        yield
    finally:
        server.close()


def split_host_port(address: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`; raises InvalidInput naming the address."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise InvalidInput(f"address {address!r} is not host:port")
    return host.strip("[]"), int(port)


async def _answer(reader: asyncio.StreamReader, routes: Mapping[str, Route]) -> Answer:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return Answer(status=400)
    first, *lines = head.split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3:
        return Answer(status=400)
    if parts[0] not in ("GET", "HEAD"):
        return Answer(status=405)
    target = urlsplit(parts[1])
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
    route = _find(routes, target.path)
    if route is None:
        return Answer(status=404, body=b"not found\n")
    answer = route(Request(path=target.path, query=dict(parse_qsl(target.query)), headers=headers))
    return answer if isinstance(answer, Answer) else await answer


def _find(routes: Mapping[str, Route], path: str) -> Route | None:
    if path in routes:
        return routes[path]
    below = [prefix for prefix in routes if prefix.endswith("/") and path.startswith(prefix)]
    return routes[max(below, key=len)] if below else None


def _encoded(answer: Answer) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, 'Status')}\r\nContent-Type: {answer.type}\r\n"
        f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + answer.body
