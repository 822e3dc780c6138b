"""Taking in a stream."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.blobs.spool import Spool
from shared.blobs.threads import Pool
from shared.errors import InvalidInput
from shared.model import Digest, sha256_digest


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_it_knows_size_and_digest(tmp_path: Path) -> None:
    spool = Spool(tmp_path, Pool("test", 1))
    await spool.fill(pieces(b"a" * 700_000, b"", b"b" * 700_000, b"c"))

    assert spool.size == 1_400_001
    assert spool.check(None) == sha256_digest(b"a" * 700_000 + b"b" * 700_000 + b"c")
    spool.discard()
    assert not spool.path.exists()


async def test_another_digest_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path, Pool("test", 1), "sha512")
    await spool.fill(b"x")

    with pytest.raises(InvalidInput, match="have digest sha512:"):
        spool.check(Digest("sha512:" + "0" * 128))
    spool.discard()
    spool.discard()
