"""Layers, configs and manifests are those of the real buildkitd, bit for bit: same Dockerfile, same times, same digests."""

import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.kit.clients import Buildctl
from tests.kit.parts.buildkitd import daemon, our_buildmeshd, real_buildkitd
from tests.kit.parts.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.slow]

DOCKERFILE = """\
FROM {busybox} AS base
RUN mkdir -p /x/y /usr/lib && echo one > /x/one && ln -s one /x/link && ln /x/one /x/hard && chmod 4755 /x/one && chown 5:6 /x/y
FROM base
RUN rm -r /x/y && mv /x /z && mkdir /x && echo two > /x/two
RUN rm -rf /x && mkdir /x && echo three > /x/three && touch /usr/lib/new
RUN mkfifo /pipe && rm /bin/cat && rm -rf /z && mkdir /z && touch /z/new
COPY folder /folder
COPY --chown=7:8 --chmod=640 folder/file /folder/other
WORKDIR /work/deep
RUN true
RUN chmod 700 /folder
ENV A=b
"""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, busybox: str) -> Path:
    """Links, a long name, a name outside of ASCII."""
    folder = tmp_path_factory.mktemp("context")
    (folder / "folder").mkdir()
    (folder / "folder/file").write_text("f")
    (folder / "folder/link").symlink_to("file")
    os.link(folder / "folder/file", folder / "folder/hard")
    (folder / "folder" / ("n" * 120)).write_text("long")
    (folder / "folder" / "é").write_text("x")
    (folder / "Dockerfile").write_text(DOCKERFILE.format(busybox=busybox))
    return folder


@pytest.fixture(scope="module")
def daemons(parts_folder: Path, registry: Registry) -> Iterator[dict[str, str]]:
    """Both, side by side."""
    with ExitStack() as stack:
        argv = {"real": real_buildkitd(), "ours": our_buildmeshd()}
        yield {name: stack.enter_context(daemon(parts_folder / f"layers-{name}", words)).addr for name, words in argv.items()}


def exported(addr: str, context: Path, work: Path, *options: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Manifest and config of the image that a daemon makes of the context."""
    work.mkdir()
    to = work / "image.tar"
    output = ",".join((f"type=oci,dest={to}", *options))
    Buildctl(addr=addr, work=work / "buildctl").build(context, "--opt", "build-arg:SOURCE_DATE_EPOCH=1600000000", "--output", output)
    with tarfile.open(to) as tar:

        def load(name: str) -> Any:
            file = tar.extractfile(name)
            assert file is not None
            return json.load(file)

        index = load("index.json")
        manifest = load("blobs/sha256/" + index["manifests"][0]["digest"][7:])
        return manifest, load("blobs/sha256/" + manifest["config"]["digest"][7:])


def test_whole_image(daemons: dict[str, str], context: Path, tmp_path: Path) -> None:
    """Uncompressed, with times rewritten: every document and every layer has the same bytes."""
    options = ("rewrite-timestamp=true", "compression=uncompressed", "force-compression=true")
    real, ours = (exported(daemons[name], context, tmp_path / name, *options) for name in ("real", "ours"))

    assert real[1] == ours[1]
    assert real[0] == ours[0]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed(daemons: dict[str, str], context: Path, tmp_path: Path, compression: str) -> None:
    """Compressed by other coders, the layers still hold the same tars."""
    options = ("rewrite-timestamp=true", f"compression={compression}")
    real, ours = (exported(daemons[name], context, tmp_path / name, *options) for name in ("real", "ours"))

    assert real[1] == ours[1]
    assert [layer["mediaType"] for layer in real[0]["layers"]] == [layer["mediaType"] for layer in ours[0]["layers"]]
