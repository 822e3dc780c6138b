"""The registry client against a real docker-registry, and against a small hostile one."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from shared.errors import BuildmeshError, Denied, NotFound, Unavailable
from shared.model import sha256_digest
from shared.oci import Descriptor, Index, Manifest, parse_reference
from shared.oci.media_types import OCI_CONFIG, OCI_INDEX, OCI_LAYER
from shared.registry import client as client_module
from shared.registry.auth import Anonymous, Token
from shared.registry.client import Asker, HttpPool
from shared.registry.hosts import HostConfig, RegistryHosts
from shared.registry.pull import Puller
from shared.registry.push import Pushed, Pusher
from tests.kit.parts.registry import Registry

BLOB = bytes(range(256)) * 5000


async def chunks_of(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


def descriptor(data: bytes, media_type: str) -> Descriptor:
    return Descriptor(media_type=media_type, digest=sha256_digest(data), size=len(data))


@pytest.fixture
async def pool() -> AsyncIterator[HttpPool]:
    pool = HttpPool()
    yield pool
    await pool.close()


async def push_image(pool: HttpPool, name: str, asker: Asker) -> Descriptor:
    target = parse_reference(name)
    pusher = Pusher(pool, RegistryHosts(), asker, target)
    layer, config = descriptor(BLOB, OCI_LAYER), descriptor(b"{}", OCI_CONFIG)
    await pusher.blob(layer, lambda: chunks_of(BLOB))
    await pusher.blob(config, lambda: chunks_of(b"{}"))
    data = Manifest(config=config, layers=(layer,)).encode()
    manifest = descriptor(data, "application/vnd.oci.image.manifest.v1+json")
    await pusher.manifest(manifest, data, tag=target.tag)
    return manifest


async def test_what_is_pushed_can_be_pulled(registry: Registry, pool: HttpPool) -> None:
    """By tag and by digest, blob by blob; a second push finds everything there, another repository mounts it."""
    asker = Asker(credentials=Anonymous())
    manifest = await push_image(pool, f"{registry.host}/client/one:v1", asker)
    puller = Puller(pool, RegistryHosts(), asker)
    reference = parse_reference(f"{registry.host}/client/one:v1")
    layer = descriptor(BLOB, OCI_LAYER)

    assert (await puller.resolve(reference)).digest == manifest.digest
    assert (await puller.manifest(reference)).descriptor == manifest
    assert b"".join([c async for c in puller.blob(reference, layer.digest, layer.size)]) == BLOB
    again = Pusher(pool, RegistryHosts(), asker, reference)
    assert await again.blob(layer, lambda: chunks_of(BLOB)) is Pushed.EXISTED
    other = Pusher(pool, RegistryHosts(), asker, parse_reference(f"{registry.host}/client/two"))
    assert await other.blob(layer, lambda: chunks_of(b"unused"), mount_from=["client/one"]) is Pushed.MOUNTED


async def test_referrers_of_a_registry_without_that_api_stand_under_a_tag(registry: Registry, pool: HttpPool) -> None:
    """Of the distribution-spec's fallback; an image that nothing refers to has none."""
    asker = Asker(credentials=Anonymous())
    manifest = await push_image(pool, f"{registry.host}/client/signed:v1", asker)
    reference = parse_reference(f"{registry.host}/client/signed:v1")
    puller = Puller(pool, RegistryHosts(), asker)
    assert await puller.referrers(reference, manifest.digest) == ()
    data = Index(manifests=(replace(manifest, artifact_type="a/b"),)).encode()

    await Pusher(pool, RegistryHosts(), asker, reference).manifest(descriptor(data, OCI_INDEX), data, tag=manifest.digest.replace(":", "-"))

    (found,) = await puller.referrers(reference, manifest.digest)
    assert (found.digest, found.artifact_type) == (manifest.digest, "a/b")


async def test_missing_things_are_not_found(registry: Registry, pool: HttpPool) -> None:
    """And named."""
    puller = Puller(pool, RegistryHosts(), Asker(credentials=Anonymous()))

    with pytest.raises(NotFound, match="client/none:v9"):
        await puller.resolve(parse_reference(f"{registry.host}/client/none:v9"))


async def test_a_mirrors_not_found_is_told_when_the_registry_cannot_be_reached(
    registry: Registry, pool: HttpPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that some other address did not answer."""
    monkeypatch.setattr(client_module, "RETRY_WAITS", ())
    hosts = RegistryHosts(configs={"127.0.0.1:1": HostConfig(mirrors=(registry.host,))})

    with pytest.raises(NotFound, match="none:v9"):
        await Puller(pool, hosts, Asker(credentials=Anonymous())).resolve(parse_reference("127.0.0.1:1/none:v9"))


class Guarded:
    """A registry that wants a token, breaks off in the middle of blobs, and is busy at first."""

    def __init__(self) -> None:
        self.busy = 2
        self.ranges: list[str] = []
        self.token_calls = 0
        self.wrong = False

    async def start(self) -> tuple[web.AppRunner, int]:
        app = web.Application()
        app.router.add_get("/token", self.token)
        app.router.add_get("/v2/{name:.+}/blobs/{digest}", self.blob)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def token(self, request: web.Request) -> web.Response:
        self.token_calls += 1
        expected = "Basic " + base64.b64encode(b"me:secret").decode()
        if request.headers.get("Authorization") != expected:
            return web.Response(status=401)
        return web.Response(text=json.dumps({"token": "t-1", "expires_in": 300}))

    async def blob(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer t-1":
            realm = f"http://{request.host}/token"
            return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'})
        if self.busy:
            self.busy -= 1
            return web.Response(status=429, headers={"Retry-After": "0"})
        self.ranges.append(request.headers.get("Range", ""))
        start = int(self.ranges[-1][6:-1]) if self.ranges[-1] else 0
        data = b"x" * len(BLOB) if self.wrong else BLOB
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(data) - start
        await response.prepare(request)
        await response.write(data[start : start + 500_000])
        if start + 500_000 < len(data):
            assert request.transport is not None
            request.transport.close()
        return response


class Me:
    identity = "me"

    def __init__(self, secret: str) -> None:
        self.secret = secret

    async def fetch_token(self, host: str, *, realm: str, service: str, scopes: Sequence[str]) -> Token | None:
        return None

    async def login(self, host: str) -> tuple[str, str]:
        return "me", self.secret


@pytest.fixture
async def guarded(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Guarded, int]]:
    monkeypatch.setattr(client_module, "RETRY_WAITS", (0.0, 0.0, 0.0))
    server = Guarded()
    runner, port = await server.start()
    yield server, port
    await runner.cleanup()


async def read(pool: HttpPool, port: int, secret: str, said: list[str] | None = None) -> bytes:
    asker = Asker(credentials=Me(secret), on_retry=said.append if said is not None else None)
    puller = Puller(pool, RegistryHosts(), asker)
    reference = parse_reference(f"127.0.0.1:{port}/a/b")
    async with asyncio.timeout(20):
        return b"".join([c async for c in puller.blob(reference, sha256_digest(BLOB), len(BLOB))])


async def test_broken_downloads_are_taken_up_where_they_broke(guarded: tuple[Guarded, int], pool: HttpPool) -> None:
    """With one token for all of it, waiting when the registry is busy."""
    server, port = guarded
    said: list[str] = []

    assert await read(pool, port, "secret", said) == BLOB
    assert server.ranges[0] == "" and all(r.startswith("bytes=") for r in server.ranges[1:]) and len(server.ranges) > 1
    assert server.token_calls == 1
    assert len(said) == 2 and "429" in said[0]


async def test_wrong_bytes_are_refused(guarded: tuple[Guarded, int], pool: HttpPool) -> None:
    """Whatever the registry says, the digest decides."""
    server, port = guarded
    server.wrong = True

    with pytest.raises(Unavailable, match="does not match its digest"):
        await read(pool, port, "secret")


async def test_wrong_password_is_denied(guarded: tuple[Guarded, int], pool: HttpPool) -> None:
    """At once, without retries."""
    _, port = guarded

    with pytest.raises(Denied, match="failed to fetch token"):
        await read(pool, port, "nope")


async def test_nobody_listening_is_unavailable(pool: HttpPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is named."""
    monkeypatch.setattr(client_module, "RETRY_WAITS", ())

    with pytest.raises(BuildmeshError, match=r"127\.0\.0\.1:1"):
        puller: Any = Puller(pool, RegistryHosts(), Asker(credentials=Anonymous()))
        await puller.resolve(parse_reference("127.0.0.1:1/x"))


async def test_one_that_was_sent_away_for_long_does_not_keep_others_away(pool: HttpPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registries count by account: who is told to come back tomorrow fails, others ask for themselves after a bounded time."""
    monkeypatch.setattr(client_module, "MAX_RETRY_AFTER", 0.2)

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Basic " + base64.b64encode(b"me:secret").decode():
            if request.path.startswith("/v2/anonymous/"):
                return web.Response(status=429, headers={"Retry-After": "86400"})
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})
        return web.Response(body=BLOB)

    app = web.Application()
    app.router.add_get("/v2/{path:.+}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host = f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]

        async def asked(path: str, asker: Asker) -> bytes:
            chunks = Puller(pool, RegistryHosts(), asker).blob(parse_reference(f"{host}/{path}"), sha256_digest(BLOB), len(BLOB))
            return b"".join([chunk async for chunk in chunks])

        async def asked_for_ever() -> None:
            while True:
                with pytest.raises(Unavailable):
                    await asked("anonymous/image", Asker(credentials=Anonymous()))

        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            with pytest.raises(Unavailable, match="429"):
                await asked("anonymous/image", Asker(credentials=Anonymous()))
            going_on = tasks.create_task(asked_for_ever())
            assert await asked("my/image", Asker(credentials=Me("secret"))) == BLOB
            going_on.cancel()
    finally:
        await runner.cleanup()


class Silent(Me):
    """A client that never answers when its password is asked."""

    identity = "silent"

    async def login(self, host: str) -> tuple[str, str]:
        self.asked.set()
        await asyncio.Event().wait()
        return "", ""

    def __init__(self) -> None:
        super().__init__("")
        self.asked = asyncio.Event()


async def test_a_client_that_never_says_its_password_takes_nobody_elses_slots(pool: HttpPool) -> None:
    registry = Guarded()
    runner, port = await registry.start()
    reference, silent = parse_reference(f"127.0.0.1:{port}/some/image"), Silent()

    async def pulled(credentials: Me) -> int:
        chunks = Puller(pool, RegistryHosts(), Asker(credentials=credentials)).blob(reference, sha256_digest(BLOB), len(BLOB))
        return sum([len(chunk) async for chunk in chunks])

    try:
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(pulled(silent)) for _ in range(client_module.PER_HOST + 1)]
            await silent.asked.wait()
            assert await pulled(Me("secret")) == len(BLOB)
            for task in waiting:
                task.cancel()
    finally:
        await runner.cleanup()
