"""Layers that several builds want at once: what one of them may not have, or can't get, the others get all the same."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest

from services.executor.adapters.publishing import Silent
from services.executor.adapters.sources.fleet_flight import FleetFlight
from services.executor.adapters.sources.image_store import Origins
from services.executor.adapters.sources.layer_fetch import LayerFetch
from shared.blobs.memory import MemoryBlobs
from shared.bus.memory import MemoryBus
from shared.errors import Denied
from shared.model import Digest, Layer, sha256_digest
from shared.oci import Reference
from shared.run.flight import Flight
from shared.wire.messages import Scope

DATA = b"a layer"
DIGEST = sha256_digest(DATA)


class Places:
    """Origins whose registries know one good client; the registry at `tar.pit` says nothing."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.begun, self.refuse = asyncio.Event(), asyncio.Event()

    def registry(self, reference: Reference, sessions: Sequence[str]) -> "Places.One":
        return Places.One(self, reference.domain, sessions)

    class One:
        def __init__(self, places: "Places", host: str, sessions: Sequence[str]) -> None:
            self.places, self.host, self.sessions = places, host, sessions

        async def blob(self, digest: Digest, size: int) -> AsyncIterator[bytes]:
            self.places.asked.append(f"{self.host} {self.sessions[0]}")
            self.places.begun.set()
            if self.sessions[0] == "silent" or self.host == "tar.pit":
                await asyncio.Event().wait()
            if self.sessions[0] != "good":
                await self.places.refuse.wait()
                raise Denied("401")
            yield DATA


def layer(host: str) -> Layer:
    return Layer(digest=DIGEST, diff_id=DIGEST, size=len(DATA), media_type="", source=f"{host}/some/image")


def scope(session: str, identity: str) -> Scope:
    return Scope(lease="l", sessions=(session,), identity=identity)


@pytest.mark.parametrize(
    ("first", "place"),
    [(scope("silent", "eve"), "a.registry"), (scope("good", "bob"), "tar.pit"), (scope("bad", "bob"), "a.registry")],
    ids=["a client that never answers", "a registry that never answers", "a password that is refused"],
)
@pytest.mark.parametrize("alone", [True, False])
async def test_nobody_is_held_up_by_the_layer_of_another(first: Scope, place: str, alone: bool) -> None:
    places, blobs = Places(), MemoryBlobs()
    bucket = None if alone else await MemoryBus().bucket("pulls", ttl=5.0)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        fetch = LayerFetch(blobs, cast(Origins, places), Flight(tasks), FleetFlight(bucket, "e1"))
        one = tasks.create_task(_refused(fetch, layer(place), first))
        await places.begun.wait()
        other = tasks.create_task(fetch.ensure(layer("a.registry"), scope("good", "bob"), Silent()))
        await asyncio.sleep(0.01)
        places.refuse.set()
        await other
        one.cancel()
    assert not await blobs.find_missing([DIGEST])
    assert places.asked == [f"{place} {first.sessions[0]}", "a.registry good"]


async def _refused(fetch: LayerFetch, layer: Layer, scope: Scope) -> None:
    with pytest.raises(Denied):
        await fetch.ensure(layer, scope, Silent())
