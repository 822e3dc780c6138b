"""OCI layouts that the client shows to the daemon."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from client.image_layouts import ImageLayouts, parse
from shared.errors import BuildmeshError, Code, InvalidInput
from shared.pb import content_pb2 as pb
from shared.rpc import CallOpener, Server, connect, listen
from tests.kit.oci_layout import MANIFEST, Layout

SERVICE = "/containerd.services.content.v1.Content/"
LARGE = b"0123456789abcdef" * 100_000
"""More than one message holds."""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "layout")
    made.tag(made.blob(MANIFEST, LARGE), "latest")
    made.tag(made.blob(MANIFEST, b"old"), "v1")
    return made


@pytest.fixture
async def peer(layout: Layout, tmp_path: Path) -> AsyncIterator[CallOpener]:
    with ThreadPoolExecutor(2) as threads:
        routes = ImageLayouts({"base": str(layout.folder)}, threads=threads).routes()
        async with Server(routes).serving([listen(f"unix://{tmp_path}/s.sock")]), connect(f"unix://{tmp_path}/s.sock") as found:
            yield found


def digest(layout: Layout, name: str = "latest") -> str:
    return Layout.digest(layout.folder, name)


async def read(peer: CallOpener, digest: str, offset: int = 0, size: int = 0, store: str = "oci:base") -> bytes:
    request = pb.ReadContentRequest(digest=digest, offset=offset, size=size)
    async with await peer.open(SERVICE + "Read", metadata=[("buildkit-attachable-store-id", store)]) as call:
        await call.send(request.SerializeToString())
        call.close_send()
        return b"".join([pb.ReadContentResponse.FromString(message).data async for message in call.messages()])


def test_tags_and_digests(layout: Layout) -> None:
    """As buildx reads them: without a tag, `latest`; a digest needs no index."""
    folder = str(layout.folder)
    assert parse(f"oci-layout://{folder}", "--x") == (folder, digest(layout))
    assert parse(f"oci-layout://{folder}:v1", "--x") == (folder, digest(layout, "v1"))
    assert parse(f"oci-layout:///nowhere@{digest(layout)}", "--x") == ("/nowhere", digest(layout))


def test_the_only_image_needs_no_name(tmp_path: Path) -> None:
    """An index of one image that nobody named, as `skopeo copy … oci:FOLDER` writes it."""
    only = "sha256:" + "a" * 64
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [{"digest": only}]}))
    assert parse(f"oci-layout://{tmp_path}", "--x") == (str(tmp_path), only)


@pytest.mark.parametrize(
    ("place", "index", "said"),
    [
        (":v2", '{"manifests": []}', 'no image is called "v2"'),
        ("@sha256:1", "{}", "invalid digest 'sha256:1'"),
        ("/no", "{}", "/no/index.json: No such file or directory"),
        ("", "[]", "not that of an OCI layout"),
        ("", "{}", "not that of an OCI layout"),
        ("", '{"manifests": [{"digest": "sha256:../../x"}]}', "invalid digest"),
        ("", "}", "Expecting value"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, place: str, index: str, said: str) -> None:
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(InvalidInput) as caught:
        parse(f"oci-layout://{tmp_path}{place}", "--build-context x=")
    assert caught.value.message.startswith("--build-context x=")
    assert said in caught.value.message


async def test_blobs(layout: Layout, peer: CallOpener) -> None:
    """Whole, from an offset, a range; and how large one is."""
    name = digest(layout)
    assert await read(peer, name) == LARGE
    assert await read(peer, name, offset=len(LARGE) - 3) == LARGE[-3:]
    assert await read(peer, name, offset=5, size=4) == LARGE[5:9]
    request = pb.InfoRequest(digest=name).SerializeToString()
    answer = await peer.unary(SERVICE + "Info", request, metadata=[("buildkit-attachable-store-id", "oci:base")])
    assert pb.InfoResponse.FromString(answer).info.size == len(LARGE)


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("sha256:" + "b" * 64, {}, Code.NOT_FOUND),
        ("sha256:../../../secret", {}, Code.INVALID_ARGUMENT),
        ("", {}, Code.INVALID_ARGUMENT),
        (None, {"store": "oci:other"}, Code.NOT_FOUND),
        (None, {"store": "base"}, Code.NOT_FOUND),
        (None, {"offset": -1}, Code.INVALID_ARGUMENT),
        (None, {"offset": 1, "size": len(LARGE)}, Code.INVALID_ARGUMENT),
    ],
)
async def test_nothing_else_is_shown(layout: Layout, peer: CallOpener, name: str | None, options: dict[str, object], code: Code) -> None:
    with pytest.raises(BuildmeshError) as caught:
        await read(peer, digest(layout) if name is None else name, **options)  # type: ignore[arg-type]
    assert caught.value.status_code is code
