"""A socket's end of a link: an asyncio Protocol, the same for both roles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.rpc.call import Peer, gone
from shared.rpc.link import Link


class Wire(asyncio.Protocol):
    """Bytes between a transport and the link that `make_link` builds once connected.

    With TLS a server must have chosen `h2` by ALPN (RFC 9113 §3.2), as grpc-go insists on too. A client that offers nothing gets in, as
    with buildkitd: buildx's remote driver with certificates is one.
    """

    def __init__(self, make_link: Callable[[Wire], Link], *, on_lost: Callable[[Wire], object] | None = None) -> None:
        self._make_link = make_link
        self._on_lost = on_lost
        self.link: Link | None = None
        self.transport: asyncio.Transport | None = None
        self.reason = ""
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2" and not tls.server_side:
            self.reason = "peer did not negotiate h2"
            transport.close()
            return
        self.link = self._make_link(self)
        self.link.flush()

    def data_received(self, data: bytes) -> None:
        if self.link is not None:
            self.link.receive(data)

    def pause_writing(self) -> None:
        if self.link is not None:
            self.link.set_blocked(True)

    def resume_writing(self) -> None:
        if self.link is not None:
            self.link.set_blocked(False)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.link is not None:
            self.link.lost(gone(self.reason or (str(exc) if exc else "")))
        if self._on_lost is not None:
            self._on_lost(self)
        if not self.closed.done():
            self.closed.set_result(None)

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def end(self, reason: str) -> None:
        """The protocol is over; close after what was written has gone."""
        self.reason = self.reason or reason
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def peer(self) -> Peer:
        assert self.transport is not None
        address = self.transport.get_extra_info("peername")
        text = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else "unix"
        return Peer(address=text, common_name=_common_name(self.transport.get_extra_info("peercert")))


def _common_name(certificate: dict[str, object] | None) -> str:
    subject = (certificate or {}).get("subject", ())
    parts = subject if isinstance(subject, tuple) else ()
    return next((value for part in parts for key, value in part if key == "commonName"), "")
