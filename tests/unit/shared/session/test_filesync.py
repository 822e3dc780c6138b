"""Whole transfers over a real socket, pipe and both HTTP/2 layers: what the client shows is what the daemon has afterwards."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from shared.errors import NotFound, SessionGone, Unavailable, Unsupported
from shared.fsutil.packets import Stat
from shared.fsutil.receiver import Receiver
from shared.rpc import Call
from shared.session import filesync
from shared.session.bytes_pipe import Unwrapper
from shared.session.filesend import export_file, export_tree, send_tree
from shared.session.filesync import LocalRequest, receive_local, receive_tree
from shared.session.registry import SessionRegistry
from shared.session.tree_reader import open_file, walk
from tests.kit.pipes import attached


class CallBytes:
    """A server's Call as a ByteStream."""

    def __init__(self, call: Call) -> None:
        self.send = call.send_chunk
        self.receive = call.chunk
        self.headers: dict[str, str] = {}

    async def close_send(self) -> None:
        return


class Client:
    """Shows `source`, takes exports into `target` and `archive`."""

    def __init__(self, source: Path, target: Path, threads: ThreadPoolExecutor) -> None:
        self.source = source
        self.target = target
        self.archive = b""
        self.requests: list[dict[str, str]] = []
        self.threads = threads

    async def diff_copy(self, call: Call) -> None:
        self.requests.append(dict(call.metadata))
        name = call.metadata.get("dir-name")
        if name != "context":
            raise NotFound(f'no access allowed to dir "{name}"')
        root = str(self.source)
        await send_tree(CallBytes(call), walk(root), partial(open_file, root), threads=self.threads)

    async def file_send(self, call: Call) -> None:
        self.requests.append(dict(call.metadata))
        if call.metadata.get("buildkit-attachable-exporter-id") == "1":
            unwrap = Unwrapper()
            while chunk := await call.chunk():
                self.archive += unwrap.feed(chunk)
            return
        await receive_tree(CallBytes(call), Receiver(), self.target, threads=self.threads)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4, "test") as pool:
        yield pool


@pytest.fixture
def client(tmp_path: Path, threads: ThreadPoolExecutor) -> Client:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    return Client(tmp_path / "source", tmp_path / "target", threads)


@pytest.fixture
async def links(client: Client, tmp_path: Path) -> AsyncIterator[SessionRegistry]:
    registry = SessionRegistry()
    routes = {filesync.METHOD: client.diff_copy, "/moby.filesync.v1.FileSend/DiffCopy": client.file_send}
    async with attached(registry, "sess1", routes, tmp_path):
        yield registry


def listing(root: Path) -> list[Stat]:
    """Everything that must be equal: sizes of directories don't count."""
    return list(walk(str(root)))


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()}


def make_tree(root: Path) -> None:
    """Kinds of entries, names that sort oddly, a file larger than all windows."""
    (root / "a").mkdir()
    (root / "a" / "deep" / "er").mkdir(parents=True)
    (root / "a-b").write_text("sorts after a/…")
    (root / "a.txt").write_text("too")
    (root / "a" / "empty").touch()
    (root / "a" / "deep" / "er" / "file").write_bytes(os.urandom(100_000))
    (root / "big").write_bytes(os.urandom(9 << 20))
    (root / "link").symlink_to("a/empty")
    (root / "dangling").symlink_to("../../nowhere")
    os.link(root / "a.txt", root / "second-name")
    os.mkfifo(root / "pipe")
    (root / "ünïcode \udcff").write_text("raw bytes in a name")
    (root / "script").write_text("#!/bin/sh")
    (root / "script").chmod(0o4755)
    os.utime(root / "a", ns=(1, 123_456_789_012_345_678))


async def test_receives_a_tree(links: SessionRegistry, client: Client, tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    """Every kind of entry arrives with mode, times, links and content."""
    make_tree(client.source)
    destination = tmp_path / "dest"
    destination.mkdir()

    done = await receive_local(links, "prefix:sess1", LocalRequest(name="context"), destination, threads=threads)

    assert listing(destination) == listing(client.source)
    assert contents(destination) == contents(client.source)
    assert done.bytes_received > 9 << 20
    assert client.requests == [{"dir-name": "context"}]


async def test_a_sparse_file_arrives_sparse(links: SessionRegistry, client: Client, tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    """The protocol sends holes as zeros; a piece of data between them, and a hole at the end, keep their places."""
    (tmp_path / "destination").mkdir()
    with (client.source / "sparse").open("wb") as file:
        file.seek(20 << 20)
        file.write(b"island")
        file.truncate((40 << 20) + 3)
    (client.source / "zeros").write_bytes(bytes(70_000))

    await receive_local(links, "sess1", LocalRequest(name="context"), tmp_path / "destination", threads=threads)

    assert contents(tmp_path / "destination") == contents(client.source)
    assert (tmp_path / "destination" / "sparse").stat().st_blocks * 512 < 8 << 20


async def test_second_transfer_sends_only_stats(
    links: SessionRegistry, client: Client, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    """An unchanged tree moves no content; changes, removals and changes of kind do what they say."""
    make_tree(client.source)
    destination = tmp_path / "dest"
    destination.mkdir()
    request = LocalRequest(name="context")
    await receive_local(links, "sess1", request, destination, threads=threads)

    same = await receive_local(links, "sess1", request, destination, threads=threads)
    assert (same.changed, same.removed) == ((), ())
    assert same.bytes_received < 5000

    (client.source / "a.txt").unlink()
    (client.source / "second-name").write_text("its own now")
    (client.source / "link").unlink()
    (client.source / "link").mkdir()
    (client.source / "link" / "inside").write_text("new")
    for path in (client.source / "a" / "deep").rglob("file"):
        path.unlink()
    (client.source / "a" / "deep" / "er").rmdir()
    (client.source / "a" / "deep").rmdir()
    (client.source / "a" / "deep").symlink_to("/etc")
    changed = await receive_local(links, "sess1", request, destination, threads=threads)

    assert listing(destination) == listing(client.source)
    assert contents(destination) == contents(client.source)
    assert changed.removed == ("a.txt",)
    assert "big" not in changed.changed


async def test_errors_of_the_client(links: SessionRegistry, client: Client, tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    """Unknown directory, unknown session, and a method that is not served."""
    with pytest.raises(NotFound, match="no access allowed"):
        await receive_local(links, "sess1", LocalRequest(name="other"), tmp_path, threads=threads)
    with pytest.raises(SessionGone):
        await links.describe("nobody", wait=0.01)
    with pytest.raises(Unsupported):
        async with links.open("sess1", "/moby.x/Y"):
            pass


async def test_exports_tree_and_file(links: SessionRegistry, client: Client, threads: ThreadPoolExecutor) -> None:
    """Directory and file targets receive what is sent, with the metadata that names them."""
    make_tree(client.source)
    root = str(client.source)

    await export_tree(links, "sess1", 0, walk(root), partial(open_file, root), threads=threads, multi_platform=True)
    assert listing(client.target) == listing(client.source)
    assert contents(client.target) == contents(client.source)
    assert client.requests[-1]["buildkit-exporter-multi-platform"] == "1"

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(50):
            yield bytes([number]) * 200_000

    sent = await export_file(links, "sess1", 1, chunks(), metadata={"containerimage.digest": "sha256:x"})
    assert client.archive == b"".join([chunk async for chunk in chunks()])
    assert sent == len(client.archive)
    assert client.requests[-1]["exporter-md-containerimage.digest"] == "sha256:x"


async def test_receiver_that_fails_says_why(links: SessionRegistry, client: Client, threads: ThreadPoolExecutor) -> None:
    """An error at the far end comes back with its text."""
    make_tree(client.source)
    client.target.rmdir()
    root = str(client.source)

    with pytest.raises(Exception) as caught:
        await export_tree(links, "sess1", 0, walk(root), partial(open_file, root), threads=threads)
    assert not isinstance(caught.value, AssertionError)


async def test_odd_patterns_are_escaped() -> None:
    """One value outside ASCII makes all values of its key escaped, and only then."""
    plain = LocalRequest(name="x", include=("a%b", "c d")).metadata()
    odd = LocalRequest(name="x", include=("ä", "c d")).metadata()

    assert plain == [("dir-name", "x"), ("include-patterns", "a%b"), ("include-patterns", "c d")]
    assert odd[1:] == [("include-patterns-encoded", "1"), ("include-patterns", "%C3%A4"), ("include-patterns", "c+d")]
    assert Unavailable.retryable
