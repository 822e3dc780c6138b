"""Images from a real registry: keys, configs, lazy refs, platforms, pins; whose digest may be read by whom."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from services.executor.adapters.sources.fleet_flight import FleetFlight
from services.executor.adapters.sources.image import ImageDriver, image_ref
from services.executor.adapters.sources.image_store import KeptDocuments, Origins
from services.executor.adapters.sources.layer_fetch import LayerFetch
from services.executor.core.source_ids import ImageSource
from shared.blobs.disk import DiskBlobs
from shared.bus.memory import MemoryBus
from shared.errors import BlobMissing, BuildmeshError, Denied, InvalidInput, NotFound
from shared.model import Platform, sha256_digest
from shared.oci import parse_reference
from shared.registry.client import HttpPool
from shared.registry.hosts import RegistryHosts
from shared.run.flight import Flight
from shared.session.registry import SessionRegistry
from shared.wire.messages import ResolveSource, Scope, SourceResolved
from tests.kit import images
from tests.kit.parts.registry import Registry

_AMD64 = Platform(os="linux", architecture="amd64")


class Seen:
    """A reporter that keeps which statuses were completed."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def status(self, id: str, *, current: int = 0, total: int = 0, name: str = "", done: bool = False) -> None:
        self.done += [id] * done

    def log(self, stream: int, data: bytes) -> None: ...


class World:
    """A driver and an empty blob store."""

    def __init__(self, root: Path) -> None:
        self.blobs = DiskBlobs(root / "blobs")
        self.pool = HttpPool()
        self.origins = Origins(pool=self.pool, hosts=RegistryHosts(), links=SessionRegistry())
        self.seen = Seen()

    async def open(self) -> None:
        self.documents = KeptDocuments(self.blobs, await MemoryBus().bucket("image-origins"))
        self.driver = ImageDriver(self.origins, self.documents)

    async def resolve(self, text: str, platform: Platform = _AMD64, *, identity: str = "", **changes: object) -> SourceResolved:
        source = replace(ImageSource(reference=parse_reference(text)), **changes)  # type: ignore[arg-type]
        request = ResolveSource(vertex=sha256_digest(b"v"), op=b"", platform=platform, scope=Scope(lease="l", identity=identity))
        return await self.driver.resolve(source, request, self.seen)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.open()
    yield made
    await made.pool.close()
    await made.blobs.close()


async def test_resolve(world: World, busybox: str) -> None:
    """Manifest and config are read, no layer is; the ref is lazy, by chain, and the same for everybody."""
    found = await world.resolve(busybox)

    assert found.ref is not None and found.ref.home == "" and found.ref.layers
    assert found.pin == found.image_digest and len(found.keys) == 2 and all(k.startswith("sha256:") for k in found.keys)
    assert json.loads(found.image_config)["rootfs"]["diff_ids"] == [layer.diff_id for layer in found.ref.layers]
    assert await world.blobs.find_missing([layer.digest for layer in found.ref.layers]) == {layer.digest for layer in found.ref.layers}
    assert [f"resolve {busybox}"] == world.seen.done
    assert found == await world.resolve(busybox)
    assert image_ref(()) is None


async def test_equal_layers_by_another_name(world: World, registry: Registry, busybox: str) -> None:
    """Another tag of the same image shares the key by layers, and the ref."""
    other = images.push("busybox", registry.host, "another/name", "v1")
    first, second = await world.resolve(busybox), await world.resolve(other)

    assert first.keys[1] == second.keys[1]
    assert first.ref is not None and second.ref is not None and first.ref.id == second.ref.id


async def test_a_digest_is_not_a_key_to_other_repositories(world: World, registry: Registry, busybox: str) -> None:
    """What we have of one repository is not given out under another name that does not have it."""
    pin = (await world.resolve(busybox)).pin

    assert pin == (await world.resolve(f"{busybox.rpartition(':')[0]}@{pin}")).pin
    with pytest.raises(BuildmeshError):
        await world.resolve(f"{registry.host}/nobody/has-this@{pin}")


async def test_a_digest_is_not_a_key_to_what_another_identity_has_pulled(world: World, registry: Registry) -> None:
    """Each has to be shown it by the registry itself, once."""
    private = images.push("busybox", registry.host, "private/of-ann", "v1")
    pinned = f"{private.rpartition(':')[0]}@{(await world.resolve(private, identity='ann')).pin}"
    world.origins = replace(world.origins, pool=Refusing())
    world.driver = ImageDriver(world.origins, world.documents)

    await world.resolve(pinned, identity="ann")
    for other in ("bob", ""):
        with pytest.raises(Denied):
            await world.resolve(pinned, identity=other)


class Refusing(HttpPool):
    """Registries want passwords that nobody has."""

    def http(self) -> NoReturn:
        raise Denied("401")


async def test_layers_on_demand(world: World, busybox: str) -> None:
    """Fetching brings the blobs, verified; a layer that nobody names a source for is missing."""
    import asyncio

    found = await world.resolve(busybox)
    assert found.ref is not None
    async with asyncio.TaskGroup() as tasks:
        fetch = LayerFetch(world.blobs, world.origins, Flight(tasks), FleetFlight(None, "e1"))
        for layer in found.ref.layers:
            await fetch.ensure(layer, Scope(lease="l"), world.seen)
            assert str(layer.digest) in world.seen.done
            async with world.blobs.open(layer.digest) as reader:
                assert layer.size == reader.size
        with pytest.raises(BlobMissing):
            await fetch.ensure(replace(found.ref.layers[0], digest=sha256_digest(b"x"), source=""), Scope(lease="l"), world.seen)


async def test_refusals(world: World, registry: Registry, busybox: str) -> None:
    """A wrong checksum, too many layers asked for, an unknown name: each says which."""
    with pytest.raises(InvalidInput, match="does not match expected checksum"):
        await world.resolve(busybox, checksum="sha256:" + "0" * 64)
    with pytest.raises(InvalidInput, match="layer limit 99 is greater"):
        await world.resolve(busybox, layer_limit=99)
    with pytest.raises(NotFound, match="nobody/has-this"):
        await world.resolve(f"{registry.host}/nobody/has-this:latest")
