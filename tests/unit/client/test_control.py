"""The asking half of our client: grpcio against our own front door, in a thread while the door runs here."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from client.control import Control, Tls, control
from shared.errors import BuildFailed, BuildmeshError, Code, Detail, InvalidInput, NotFound, Unavailable
from shared.pb import control_pb2 as pb
from shared.rpc import Call, Server, TlsFiles, listen, server_stream, unary
from tests.kit.authority import Authority

SERVICE = "/moby.buildkit.v1.Control/"


async def workers(request: pb.ListWorkersRequest, call: Call) -> pb.ListWorkersResponse:
    match list(request.filter):
        case ["gone"]:
            raise NotFound("no worker gone")
        case ["detailed"]:
            raise BuildFailed("failed", details=(Detail(type_url="x+json", value=b'{"a":1}'),))
        case ["slow"]:
            await asyncio.sleep(60)
    return pb.ListWorkersResponse(record=[{"ID": "w1", "Labels": {"authority": call.metadata.get(":authority", "")}}])


async def usage(request: pb.PruneRequest, call: Call) -> AsyncIterator[pb.UsageRecord]:
    for number in range(3):
        yield pb.UsageRecord(ID=str(number))
    if request.all:
        raise InvalidInput("not all")


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    address = f"unix://{tmp_path}/door.sock"
    routes = {
        SERVICE + "ListWorkers": unary(workers, pb.ListWorkersRequest),
        SERVICE + "Prune": server_stream(usage, pb.PruneRequest),
    }
    async with Server(routes).serving([listen(address)]):
        yield address


async def asking(address: str, work: Callable[[Control], Any], tls: Tls | None = None, within: float = 5) -> Any:
    def inside() -> Any:
        with control(address, tls=tls, within=within) as daemon:
            return work(daemon)

    async with asyncio.timeout(20):
        return await asyncio.to_thread(inside)


def ask(daemon: Control) -> pb.ListWorkersResponse:
    return daemon.ask("ListWorkers", pb.ListWorkersRequest(), pb.ListWorkersResponse)


async def test_one_answer(address: str) -> None:
    answer = await asking(address, ask)

    assert [record.ID for record in answer.record] == ["w1"]


async def test_a_stream_of_answers_and_its_error(address: str) -> None:
    heard: list[str] = []

    def work(daemon: Control, everything: bool) -> None:
        for record in daemon.listen("Prune", pb.PruneRequest(all=everything), pb.UsageRecord):
            heard.append(record.ID)

    await asking(address, lambda daemon: work(daemon, False))
    with pytest.raises(InvalidInput, match="not all"):
        await asking(address, lambda daemon: work(daemon, True))

    assert heard == ["0", "1", "2"] * 2


@pytest.mark.parametrize(
    ("which", "kind", "code"),
    [("gone", NotFound, Code.NOT_FOUND), ("detailed", BuildFailed, Code.UNKNOWN), ("slow", BuildmeshError, Code.DEADLINE_EXCEEDED)],
)
async def test_errors_are_those_of_our_tree(address: str, which: str, kind: type[BuildmeshError], code: Code) -> None:
    request = pb.ListWorkersRequest(filter=[which])
    with pytest.raises(kind) as raised:
        await asking(address, lambda daemon: daemon.ask("ListWorkers", request, pb.ListWorkersResponse, within=1))

    assert raised.value.status_code is code
    assert [d.json() for d in raised.value.details] == ([{"a": 1}] if which == "detailed" else [])


@pytest.mark.parametrize("nowhere", ["unix:///nowhere/x.sock", "tcp://127.0.0.1:1"])
async def test_nobody_there_is_told_at_once(nowhere: str) -> None:
    with pytest.raises(Unavailable, match=rf"can't connect to {nowhere}: .+"):
        await asking(nowhere, ask)


async def test_one_who_never_answers_is_given_up(tmp_path: Path) -> None:
    """Connected, but no HTTP/2 comes back."""
    async with await asyncio.start_unix_server(lambda reader, writer: asyncio.sleep(60), str(tmp_path / "mute")):
        with pytest.raises(Unavailable, match="can't connect"):
            await asking(f"unix://{tmp_path}/mute", ask, within=0.5)


@pytest.mark.parametrize("address", ["/run/x.sock", "npipe:////x", ""])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="neither unix:// nor tcp://"), control(address):
        pass


async def test_certificates_both_ways(tmp_path: Path) -> None:
    """A door that wants certificates opens for one of its authority, under the name it was asked for; to nobody else."""
    authority = Authority(tmp_path)
    (cert, key), (mine, my_key) = authority.issue("server"), authority.issue("me")
    who = Tls(ca=str(authority.ca), cert=mine, key=my_key, server_name="localhost")
    door = listen("tcp://127.0.0.1:0", tls=TlsFiles(cert=cert, key=key, ca=str(authority.ca)))
    async with Server({SERVICE + "ListWorkers": unary(workers, pb.ListWorkersRequest)}).serving([door]):
        answer = await asking(door.address, ask, who)
        for stranger in (Tls(ca=str(authority.ca), server_name="localhost"), Tls(ca=str(authority.ca), server_name="other"), None):
            with pytest.raises(Unavailable):
                await asking(door.address, ask, stranger)

    assert [record.ID for record in answer.record] == ["w1"]


def test_files_that_are_not_there_are_told() -> None:
    with pytest.raises(InvalidInput, match=r"TLS files: .*nowhere\.pem"), control("tcp://127.0.0.1:1", tls=Tls(ca="nowhere.pem")):
        pass
