"""Executors that want one image of a real registry at the same moment: each blob is fetched once, and the registry is obeyed."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from services.executor.adapters.publishing import Silent
from services.executor.adapters.sources.fleet_flight import FleetFlight
from services.executor.adapters.sources.image import ImageDriver
from services.executor.adapters.sources.image_store import KeptDocuments, Origins
from services.executor.adapters.sources.layer_fetch import LayerFetch
from services.executor.adapters.sources.registry_rests import RegistryRests
from services.executor.core.source_ids import ImageSource
from shared.blobs.disk import DiskBlobs
from shared.bus.memory import MemoryBus
from shared.model import Layer, Platform, sha256_digest
from shared.oci import parse_reference
from shared.registry.client import HttpPool, retry_after
from shared.registry.hosts import RegistryHosts
from shared.run.flight import Flight
from shared.session.registry import SessionRegistry
from shared.wire.messages import ResolveSource, Scope
from tests.kit import images
from tests.kit.oci_layout import Layout, Tree
from tests.kit.parts.registry import Registry

EXECUTORS = 6
REST = 1


@dataclass
class Counting:
    """Stands before a registry: counts what is asked, and says 429 to every `busy_at`-th request, once each."""

    upstream: str
    busy_at: frozenset[int] = frozenset()
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.times.append(time.monotonic())
        if len(self.times) in self.busy_at:
            self.refused.append(time.monotonic())
            return web.Response(status=429, headers={"Retry-After": str(REST)})
        self.asked[request.method, request.path] += 1
        await asyncio.sleep(0.05)  # a registry is far away
        headers = {"Accept": request.headers.get("Accept", "*/*"), "Accept-Encoding": "identity"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, self.upstream + request.path, headers=headers) as got,
        ):
            body = await got.read()
            kept = {name: got.headers[name] for name in ("Content-Type", "Docker-Content-Digest") if name in got.headers}
            if request.method == "HEAD":
                kept["Content-Length"] = got.headers["Content-Length"]
            return web.Response(status=got.status, body=body, headers=kept)


@asynccontextmanager
async def before(registry: Registry, busy_at: frozenset[int] = frozenset()) -> AsyncIterator[tuple[Counting, str]]:
    counting = Counting(upstream=registry.url, busy_at=busy_at)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", counting.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield counting, f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
    finally:
        await runner.cleanup()


def pushed(root: Path, name: str) -> None:
    """An image of four layers that nobody has seen yet."""
    layout = Layout(root / "layout")
    layers = [Tree().file(f"f{number}", os.urandom(300_000)).done() for number in range(4)]
    layout.tag(layout.image(layers, {}), "latest")
    images.push_layout(root / "layout", name)


async def pulled(root: Path, name: str) -> list[Layer]:
    """What all executors get who pull the image at once, with one bus and one blob store."""
    bus, blobs = MemoryBus(), DiskBlobs(root / "blobs")
    pulls, origins_seen = await bus.bucket("pulls", ttl=6.0), await bus.bucket("image-origins")
    found: list[Layer] = []

    async def one(id: str, pool: HttpPool, tasks: asyncio.TaskGroup) -> None:
        fleet = FleetFlight(pulls, id)
        origins = Origins(pool=pool, hosts=RegistryHosts(), links=SessionRegistry())
        driver = ImageDriver(origins, KeptDocuments(blobs, origins_seen, fleet))
        fetch = LayerFetch(blobs, origins, Flight(tasks), fleet)
        source = ImageSource(reference=parse_reference(name))
        platform = Platform(os="linux", architecture="amd64")
        request = ResolveSource(vertex=sha256_digest(b"v"), op=b"", platform=platform, scope=Scope(lease="l"))
        resolved = await driver.resolve(source, request, Silent())
        assert resolved.ref is not None
        async with asyncio.TaskGroup() as layers:
            for layer in resolved.ref.layers:
                layers.create_task(fetch.ensure(layer, Scope(lease="l"), Silent()))
        found.extend(resolved.ref.layers)

    async with asyncio.timeout(40), AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        pools = [HttpPool() for _ in range(EXECUTORS)]
        for pool in pools:
            stack.push_async_callback(pool.close)
        hearing = [tasks.create_task(RegistryRests(pool).follow(bus)) for pool in pools]
        async with asyncio.TaskGroup() as all:
            for number, pool in enumerate(pools):
                all.create_task(one(f"e{number}", pool, tasks))
        for task in hearing:
            task.cancel()
    assert not await blobs.find_missing([layer.digest for layer in found])
    return found


def once(counting: Counting) -> dict[tuple[str, str], int]:
    """How often bytes were asked for; what a tag means now each executor asks by itself, with a HEAD that has none."""
    return {key: count for key, count in counting.asked.items() if key[0] == "GET"}


async def test_each_blob_and_manifest_is_fetched_once(registry: Registry, tmp_path: Path) -> None:
    async with before(registry) as (counting, host):
        pushed(tmp_path, f"{registry.host}/pulls/once:v1")
        layers = await pulled(tmp_path, f"{host}/pulls/once:v1")
        assert len(layers) == 4 * EXECUTORS
        fetched = once(counting)
        assert set(fetched.values()) == {1}, fetched
        assert len([path for _, path in fetched if "/blobs/" in path]) == len({layer.digest for layer in layers}) + 1, "and the config"
        assert counting.asked["HEAD", "/v2/pulls/once/manifests/v1"] == EXECUTORS


async def test_a_registry_that_is_busy_is_left_alone_by_all(registry: Registry, tmp_path: Path) -> None:
    """After a 429 nobody asks before its time is over, and the pull ends well."""
    async with before(registry, busy_at=frozenset({1, 9})) as (counting, host):
        pushed(tmp_path, f"{registry.host}/pulls/busy:v1")
        await pulled(tmp_path, f"{host}/pulls/busy:v1")
        assert len(counting.refused) == 2
        for refused in counting.refused:
            early = [at - refused for at in counting.times if refused + 0.1 < at < refused + REST - 0.01]
            assert early == [], "only what was under way already may arrive"
        assert set(once(counting).values()) == {1}


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after("7") == 7.0
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    later = retry_after("Fri, 31 Dec 2100 23:59:59 GMT")
    assert later is not None and later > 10**8
    assert [retry_after(text) for text in ("", "soon", "-1", "1.5", "٣")] == [None] * 5
