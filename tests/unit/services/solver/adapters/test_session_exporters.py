"""Exporters that a client's session names."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.solver.adapters.session_exporters import MOST, SessionExporters
from shared.errors import BuildmeshError, Denied, InvalidInput, Unavailable, Unsupported
from shared.pb import session_exporter_pb2 as pb
from shared.rpc.framing import MessageReader, frame
from shared.wire.messages import TypedAttrs


class Session:
    """Answers each method with bytes or an error, and keeps what it was asked."""

    def __init__(self, answer: bytes | BuildmeshError) -> None:
        self.answer = answer
        self.asked: list[tuple[str, bytes]] = []
        self.headers: Mapping[str, str] = {}
        self._method = ""
        self._left: list[bytes] = []

    @asynccontextmanager
    async def open(self, session: str, method: str, *, metadata: Sequence[tuple[str, str]] = ()) -> AsyncIterator[Any]:
        self._method = method
        yield self

    async def send(self, chunk: bytes) -> None:
        reader = MessageReader()
        reader.feed(chunk)
        self.asked.append((self._method, reader.next() or b""))

    async def close_send(self) -> None:
        if isinstance(self.answer, BuildmeshError):
            raise self.answer
        self._left = [frame(self.answer)]

    async def receive(self) -> bytes:
        return self._left.pop() if self._left else b""


def exporters(session: Session) -> SessionExporters:
    links: Any = session
    return SessionExporters(links)


async def test_what_it_names_with_what_it_is_told() -> None:
    session = Session(pb.FindExportersResponse(exporters=[pb.ExporterRequest(Type="oci", Attrs={"k": "v"})]).SerializeToString())

    assert await exporters(session).find("s", {"m": b"x"}, ["ref"]) == (TypedAttrs(type="oci", attrs={"k": "v"}),)
    ((method, request),) = session.asked
    assert method == "/moby.exporter.v1.Exporter/FindExporters"
    assert pb.FindExportersRequest.FromString(request) == pb.FindExportersRequest(metadata={"m": b"x"}, refs=["ref"])


@pytest.mark.parametrize("error", [Unavailable("no callback"), Unsupported("no such service")])
async def test_a_session_may_have_nothing_to_say(error: BuildmeshError) -> None:
    assert await exporters(Session(error)).find("s", {}, []) == ()
    await exporters(Session(error)).finalize("s", {})


async def test_its_refusals_and_nonsense_end_the_build() -> None:
    with pytest.raises(Denied):
        await exporters(Session(Denied("no"))).finalize("s", {"k": "v"})
    with pytest.raises(InvalidInput, match="can't be read"):
        await exporters(Session(b"\xff")).find("s", {}, [])
    many = pb.FindExportersResponse(exporters=[pb.ExporterRequest(Type="oci")] * (MOST + 1)).SerializeToString()
    with pytest.raises(InvalidInput, match="names 101 exporters"):
        await exporters(Session(many)).find("s", {}, [])
