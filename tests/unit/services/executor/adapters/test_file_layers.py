"""Which layer a file comes from."""

import gzip
import io
import tarfile
from typing import Any

import pytest

from services.executor.adapters.file_layers import LayersOfFiles
from shared.blobs.memory import MemoryBlobs
from shared.blobs.threads import Pool
from shared.errors import InvalidInput
from shared.model import Digest, Layer, sha256_digest
from shared.wire.messages import FileLayers, Scope

VERTEX = Digest("sha256:" + "0" * 64)


class Served:
    """Nobody listens."""

    async def progress(self, message: object) -> None: ...


class Fetch:
    """Everything is there; notes what is read."""

    def __init__(self) -> None:
        self.asked: list[Digest] = []

    async def ensure(self, layer: Layer, sessions: object, report: object) -> None:
        self.asked.append(layer.digest)


def archive(*names: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    return gzip.compress(out.getvalue())


async def found(blobs: list[bytes], *paths: str) -> tuple[dict[str, int], list[int]]:
    """Numbers of layers by path, and which layers were read."""
    store, fetch, pool = MemoryBlobs(), Fetch(), Pool("layers", 1)
    digests = [sha256_digest(blob) for blob in blobs]
    for blob, digest in zip(blobs, digests, strict=True):
        await store.put(blob, digest=digest)
    layers = tuple(Layer(digest=d, size=1, media_type="application/vnd.oci.image.layer.v1.tar+gzip", diff_id=d) for d in digests)
    served: Any = Served()
    fetcher: Any = fetch
    try:
        asked = FileLayers(layers=layers, paths=paths, vertex=VERTEX, scope=Scope(lease="l"))
        answer = await LayersOfFiles(fetch=fetcher, blobs=store, threads=pool).find(asked, served)
    finally:
        pool.threads.shutdown()
    return {path: digests.index(d) for path, d in answer.layers.items()}, [digests.index(d) for d in fetch.asked]


async def test_the_topmost_layer_counts_and_lower_ones_are_not_read_in_vain() -> None:
    layers = [archive("bottom"), archive("etc/a", "./etc/b"), archive("etc/a", "etc/.wh.b")]

    assert await found(layers, "/etc/a", "etc/b", "./etc/../etc/b") == ({"/etc/a": 2, "etc/b": 1, "./etc/../etc/b": 1}, [2, 1])
    assert await found(layers, "nowhere", "/etc/.wh.b") == ({}, [2, 1, 0])


async def test_a_layer_that_is_no_archive_is_an_error() -> None:
    """In a group: the server of calls takes it out."""
    with pytest.raises(ExceptionGroup) as caught:
        await found([gzip.compress(b"x" * 2000)], "a")

    assert isinstance(caught.value.exceptions[0], InvalidInput)
