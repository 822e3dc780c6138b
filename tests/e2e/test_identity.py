"""Who a client is, from its certificate to the records of what it had built: buildctl with mTLS on a fleet of six processes."""

import asyncio
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.cachestore.adapters.keys_nats_kv import KvKeyStore
from services.cachestore.core.key_graph import ResultRow
from shared.run.backends import open_bus
from shared.run.certificates import Certificates
from shared.wire import subjects
from tests.e2e.conftest import CHOSEN, Mesh
from tests.e2e.ways import PUBLIC
from tests.kit.clients import Buildctl, Buildx, ClientFailed

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.skipif("stack" not in CHOSEN, reason="of a fleet with certificates")]

Make = Callable[..., Path]


@pytest.fixture
def fleet(running: Callable[[str], Mesh], parts_folder: Path) -> Path:
    """The folder of the fleet that all tests share."""
    running("stack")
    return parts_folder / "way-stack"


@pytest.fixture
def client(fleet: Path, tmp_path: Path) -> Callable[[str], Buildctl]:
    def named(name: str) -> Buildctl:
        return Buildctl(addr=(fleet / PUBLIC).read_text(), work=tmp_path / name, tls=fleet / "certs/clients" / name)

    return named


def owners(fleet: Path) -> dict[str, str]:
    """Result → identity, as the cachestore keeps them on the bus; seen with its certificate."""

    async def read() -> dict[str, str]:
        url = tomllib.loads((fleet / "stack/cachestore-0/config.toml").read_text())["mesh"]["bus"]
        bus = await open_bus(url, name="cachestore", certificates=Certificates(folder=fleet / "certs/cachestore"))
        try:
            async with asyncio.timeout(20):
                rows = await KvKeyStore(bus, subjects.KV_KEYS).load()
        finally:
            await bus.close()
        return {row.id: row.identity for row in rows if isinstance(row, ResultRow)}

    return asyncio.run(read())


async def owners_within(fleet: Path, wanted: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    """The cachestore writes behind."""
    async with asyncio.timeout(20):
        while not wanted(found := await asyncio.to_thread(owners, fleet)):  # noqa: ASYNC110 — another process
            await asyncio.sleep(0.2)
    return found


async def test_a_record_is_of_the_client_that_had_it_made(
    fleet: Path, client: Callable[[str], Buildctl], context: Make, busybox: str
) -> None:
    """Each client's own steps are its own; what another has made already stays the other's."""
    before = await asyncio.to_thread(owners, fleet)
    shared, other = (context(f"FROM {busybox}\nRUN echo {word} > /made\n", name=word) for word in ("of-alice-first", "of-bob-alone"))

    await asyncio.to_thread(client("alice").build, shared)
    alice = await owners_within(fleet, lambda found: "alice" in found.values())
    again = await asyncio.to_thread(client("bob").build, shared)
    await asyncio.to_thread(client("bob").build, other)
    both = await owners_within(fleet, lambda found: "bob" in found.values())

    assert not {"alice", "bob"} & set(before.values())
    assert again.ran() == []
    assert {both[id] for id, owner in alice.items() if owner == "alice"} == {"alice"}
    assert sum(owner == "bob" for owner in both.values()) == 1


def test_buildx_comes_with_a_certificate(fleet: Path, context: Make, tmp_path: Path) -> None:
    """Its remote driver says nothing of HTTP/2 in the handshake."""
    buildx = Buildx(addr=(fleet / PUBLIC).read_text(), work=tmp_path / "buildx", tls=fleet / "certs/clients/alice")
    (tmp_path / "word").mkdir()
    (tmp_path / "word/word").write_text("hi")
    folder = context("FROM scratch\nCOPY --from=word word /\n")
    buildx.build(folder, f"--build-context=word={tmp_path}/word", f"--output=type=local,dest={tmp_path}/out", seconds=60)
    assert (tmp_path / "out/word").read_text() == "hi"


def test_who_is_not_known_is_told_so(fleet: Path, tmp_path: Path) -> None:
    """No certificate, one of the fleet's own (it is no client's), no TLS at all."""
    certs = fleet / "certs"
    (tmp_path / "other").mkdir()
    for name, source in (("ca.pem", "clients/alice"), ("cert.pem", "solver"), ("key.pem", "solver")):
        (tmp_path / "other" / name).write_bytes((certs / source / name).read_bytes())
    client = Buildctl(addr=(fleet / PUBLIC).read_text(), work=tmp_path)
    ways = {
        "nobody": ["--tlscacert", str(certs / "clients/alice/ca.pem")],
        "service": ["--tlsdir", str(tmp_path / "other")],
        "plain": [],
    }

    def refused(words: list[str]) -> str:
        with pytest.raises(ClientFailed) as failed:
            client.call("--timeout=3", *words, "debug", "workers")
        return failed.value.said

    with ThreadPoolExecutor(len(ways)) as pool:
        said = dict(zip(ways, pool.map(refused, ways.values()), strict=True))

    assert "certificate required" in said["nobody"]
    assert "unknown certificate authority" in said["service"]
    assert "error reading server preface" in said["plain"]
