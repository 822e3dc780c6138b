"""Addresses to listen on, as buildkitd spells them (cmd/buildkitd/main.go getListener, main_unix.go), and TLS settings."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.errors import InvalidInput

_MAX_UNIX_PATH: Final = 104
_FIRST_INHERITED: Final = 3
_BACKLOG: Final = 512


class _Telling(ssl.SSLObject):
    """Says why it refuses a certificate. The event loop would close at once, and OpenSSL's alert («certificate required») stay unsent: so
    the first time we ask for more, which sends what is there; the other side reads it and leaves, or the loop's time for handshakes ends.
    """

    _refusal: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            if not isinstance(error, ssl.SSLCertVerificationError) and error.reason != "PEER_DID_NOT_RETURN_A_CERTIFICATE":
                raise
            self._refusal = error
            raise ssl.SSLWantReadError from error


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files. With `ca`, clients must show a certificate it has signed."""

    cert: str
    key: str
    ca: str = ""

    def server_context(self) -> ssl.SSLContext:
        """Raises InvalidInput naming the file that can't be used."""
        if not self.cert or not self.key:
            raise InvalidInput("you must specify key and cert file if one is specified")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sslobject_class = _Telling
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        try:
            context.load_cert_chain(self.cert, self.key)
            if self.ca:
                context.load_verify_locations(self.ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except OSError as error:
            raise InvalidInput(f"TLS files {self.cert}, {self.key}, {self.ca or '-'}: {error}") from None
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A bound, listening socket. `address` is what was asked for, with the real port filled in."""

    address: str
    sock: socket.socket
    tls: ssl.SSLContext | None = None

    @asynccontextmanager
    async def accepting(self, loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.Protocol]) -> AsyncIterator[None]:
        """Connections get a protocol from `factory` while inside; afterwards the socket is closed, a unix one unlinked."""
        server = await loop.create_server(factory, sock=self.sock, ssl=self.tls, backlog=_BACKLOG)
        try:
            yield
        finally:
            server.close()
            if self.address.startswith("unix://"):
                _unlink(self.address.removeprefix("unix://"))


def listen(
    address: str,
    *,
    tls: TlsFiles | None = None,
    uid: int | None = None,
    gid: int | None = None,
    environ: Mapping[str, str] | None = None,
) -> Listener:
    """Bind `unix://`, `tcp://` or `fd://` (systemd). Raises InvalidInput for what can't be listened on.

    `uid` and `gid` own a unix socket; `environ` is where LISTEN_FDS is looked up (default: the process's).
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        raise InvalidInput(f"address {address} does not contain proto, you meant unix://{address} ?")
    match scheme:
        case "unix":
            return Listener(address=address, sock=_unix(rest, uid, gid))
        case "tcp":
            sock = _tcp(rest)
            host, port = sock.getsockname()[:2]
            text = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
            return Listener(address=text, sock=sock, tls=tls.server_context() if tls else None)
        case "fd":
            sock = _inherited(rest, os.environ if environ is None else environ)
            return Listener(address=address, sock=sock, tls=tls.server_context() if tls else None)
        case _:
            raise InvalidInput(f"addr {address} not supported")


def _unix(path: str, uid: int | None, gid: int | None) -> socket.socket:
    if not path or len(path.encode()) > _MAX_UNIX_PATH:
        raise InvalidInput(f"unix socket path {path!r} is empty or longer than {_MAX_UNIX_PATH} bytes")
    Path(path).parent.mkdir(mode=0o770, parents=True, exist_ok=True)
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        os.chmod(path, 0o660)
        if uid is not None or gid is not None:
            os.chown(path, -1 if uid is None else uid, -1 if gid is None else gid)
    except OSError as error:
        sock.close()
        raise InvalidInput(f"can't listen on unix://{path}: {error.strerror}") from None
    return sock


def _unlink(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _remove_stale(path: str) -> None:
    """A socket nobody listens on goes; one that answers means another daemon, which must not be cut off."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise InvalidInput(f"can't listen on unix://{path}: it exists and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        answer = probe.connect_ex(path)
    if answer in (0, errno.EAGAIN):
        raise InvalidInput(f"can't listen on unix://{path}: another process listens there")
    os.unlink(path)


def _tcp(text: str) -> socket.socket:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isdigit() or int(port) > 65535:
        raise InvalidInput(f"address tcp://{text} has no valid port")
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.bind(where)
    except OSError as error:
        raise InvalidInput(f"can't listen on tcp://{text}: {error.strerror or error}") from None
    return sock


def _inherited(rest: str, environ: Mapping[str, str]) -> socket.socket:
    """The first descriptor of systemd's socket activation (sd_listen_fds(3))."""
    if rest:
        raise InvalidInput(f"listening on fd://{rest} is not supported yet")
    count, pid = environ.get("LISTEN_FDS", ""), environ.get("LISTEN_PID", "")
    mine = not pid or (pid.isdigit() and int(pid) == os.getpid())
    if not mine or not count.isdigit() or int(count) < 1:
        raise InvalidInput("no sockets found via socket activation: make sure the service was started by systemd")
    sock = socket.socket(fileno=_FIRST_INHERITED)
    sock.setblocking(False)
    return sock
