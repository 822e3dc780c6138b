"""Addresses, TLS, and sockets handed over by systemd."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from shared.errors import InvalidInput, Unavailable
from shared.rpc import Call, Server, TlsFiles, connect, listen, unary
from tests.kit.authority import Authority

EMPTY_SETTINGS = b"\0\0\0\4\0\0\0\0\0"


async def who(request: bytes, call: Call) -> bytes:
    return call.peer.common_name.encode() + b"|" + request


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def server() -> Server:
    return Server({"/t.T/Who": unary(who, bytes)})


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("/run/x.sock", "does not contain proto, you meant unix:///run/x.sock"),
        ("npipe:////x", "not supported"),
        ("fd://3", "not supported yet"),
        ("fd://", "no sockets found via socket activation"),
        ("tcp://localhost", "no valid port"),
        ("tcp://localhost:99999", "no valid port"),
        ("tcp://203.0.113.7:1", "can't listen"),
        ("unix://" + "/x" * 60, "longer than"),
        ("unix://", "empty"),
    ],
)
def test_addresses_that_fail(address: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        listen(address, environ={})


async def test_unix_socket(tmp_path: Path) -> None:
    """Parents are made, mode is 0660, a stale socket goes, a live one stays, and ours is removed at the end."""
    path = tmp_path / "new" / "x.sock"
    address = f"unix://{path}"
    with socket.socket(socket.AF_UNIX) as stale:
        path.parent.mkdir()
        stale.bind(str(path))

    async with server().serving([listen(address)]):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with pytest.raises(InvalidInput, match="another process"):
            listen(address)
        async with connect(address) as peer:
            assert await peer.unary("/t.T/Who", b"x") == b"|x"
    assert not path.exists()


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("mine")
    with pytest.raises(InvalidInput, match="not a socket"):
        listen(f"unix://{tmp_path}/f")
    assert (tmp_path / "f").read_text() == "mine"


async def test_tcp() -> None:
    listener = listen("tcp://127.0.0.1:0")
    assert not listener.address.endswith(":0")
    async with server().serving([listener]), connect(listener.address) as peer:
        assert await peer.unary("/t.T/Who", b"x") == b"|x"


async def test_nobody_there() -> None:
    with pytest.raises(Unavailable):
        async with connect("unix:///nowhere/at.all"):
            pass


SCRIPT = """
import asyncio, os
from shared.rpc import Server, listen, unary
async def who(request, call): return request
async def main():
    async with Server({"/t.T/Who": unary(who, bytes)}).serving([listen("fd://")]):
        await asyncio.sleep(60)
os.environ["LISTEN_PID"] = str(os.getpid())
asyncio.run(main())
"""


async def test_inherited_socket(tmp_path: Path) -> None:
    """systemd's socket activation: descriptor 3, LISTEN_FDS and LISTEN_PID."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    sock.listen()
    process = await asyncio.create_subprocess_exec(
        "/bin/bash",
        "-c",
        f'exec "$0" -c "$1" 3<&{sock.fileno()}',
        sys.executable,
        SCRIPT,
        pass_fds=[sock.fileno()],
        env={**os.environ, "LISTEN_FDS": "1", "PYTHONPATH": os.getcwd()},
    )
    try:
        async with asyncio.timeout(20), connect(f"unix://{tmp_path}/s") as peer:
            assert await peer.unary("/t.T/Who", b"x") == b"x"
    finally:
        process.kill()
        await process.wait()
        sock.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def tls_address(authority: Authority) -> AsyncIterator[str]:
    """A server that wants client certificates."""
    cert, key = authority.issue("server")
    listener = listen("tcp://127.0.0.1:0", tls=TlsFiles(cert=cert, key=key, ca=str(authority.ca)))
    async with server().serving([listener]):
        yield listener.address


async def test_mutual_tls_with_grpcio(authority: Authority, tls_address: str) -> None:
    """A stranger that insists on ALPN gets through with its certificate, and its name is known."""
    cert, key = authority.issue("client")
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes(), read(key), read(cert))
    target = tls_address.replace("tcp://127.0.0.1", "localhost")
    async with grpc.aio.secure_channel(target, credentials) as channel:
        assert await channel.unary_unary("/t.T/Who")(b"x", timeout=10) == b"client|x"


async def test_mutual_tls_with_own_client(authority: Authority, tls_address: str) -> None:
    cert, key = authority.issue("me")
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["h2"])
    async with connect(tls_address, tls=context, server_name="localhost") as peer:
        assert await peer.unary("/t.T/Who", b"x") == b"me|x"


async def test_no_certificate_no_entry(authority: Authority, tls_address: str) -> None:
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes())
    target = tls_address.replace("tcp://127.0.0.1", "localhost")
    async with grpc.aio.secure_channel(target, credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/t.T/Who")(b"x", timeout=3)


@pytest.mark.parametrize(("own", "told"), [("", "CERTIFICATE_REQUIRED"), ("stranger", "ALERT")])
async def test_who_is_refused_is_told_why(authority: Authority, tls_address: str, tmp_path: Path, own: str, told: str) -> None:
    """By OpenSSL's alert, which buildctl shows; afterwards the address serves others."""
    context = ssl.create_default_context(cafile=str(authority.ca))
    if own:
        (tmp_path / "other").mkdir()
        cert, key = Authority(tmp_path / "other").issue(own)
        context.load_cert_chain(cert, key)

    def knock() -> None:
        host, _, port = tls_address.removeprefix("tcp://").rpartition(":")
        with socket.create_connection((host, int(port)), 10) as plain, context.wrap_socket(plain, server_hostname="localhost") as link:
            link.recv(1)

    with pytest.raises(ssl.SSLError, match=told):
        await asyncio.to_thread(knock)
    await test_mutual_tls_with_own_client(authority, tls_address)


async def test_a_client_without_alpn_gets_in(authority: Authority, tls_address: str) -> None:
    """As buildx's remote driver comes: TLS first, HTTP/2 in it without a word about it."""
    cert, key = authority.issue("client")
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.load_cert_chain(cert, key)

    def greeted() -> bytes:
        host, _, port = tls_address.removeprefix("tcp://").rpartition(":")
        with socket.create_connection((host, int(port)), 10) as plain, context.wrap_socket(plain, server_hostname="localhost") as link:
            link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + EMPTY_SETTINGS)
            return link.recv(9)

    assert (await asyncio.to_thread(greeted))[3] == EMPTY_SETTINGS[3]  # the kind of the frame


async def test_a_server_without_alpn_is_turned_away_from(authority: Authority) -> None:
    cert, key = authority.issue("server")
    listener = listen("tcp://127.0.0.1:0", tls=TlsFiles(cert=cert, key=key))
    context = ssl.create_default_context(cafile=str(authority.ca))
    async with server().serving([listener]):
        with pytest.raises(Unavailable, match="h2"):
            async with connect(listener.address, tls=context, server_name="localhost"):
                pass


def test_tls_files_that_fail(authority: Authority) -> None:
    cert, key = authority.issue("a")
    _, other = authority.issue("b")
    for files, text in (
        (TlsFiles(cert=cert, key=""), "you must specify key and cert file"),
        (TlsFiles(cert=cert, key="/nowhere"), "/nowhere"),
        (TlsFiles(cert=cert, key=other), "TLS files"),
        (TlsFiles(cert=cert, key=key, ca=key), "TLS files"),
    ):
        with pytest.raises(InvalidInput, match=text):
            files.server_context()
