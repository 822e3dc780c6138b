"""Digests of the regular files of a tree."""

import hashlib
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.executor.adapters.file_digests import TreeDigests
from shared.blobs.threads import Pool
from shared.model import Digest, Ref
from shared.wire.messages import FileDigests, Scope


class Home:
    """An executor that holds one tree."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def one(self, ref: Ref, scope: Scope, report: object) -> str:
        return ref.id

    @contextmanager
    def mount(self, id: str) -> Any:
        yield str(self._root)


class Served:
    """Nobody listens."""

    async def progress(self, message: object) -> None: ...


async def test_only_regular_files_have_one(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("dir/file")
    os.mkfifo(tmp_path / "pipe")
    home: Any = Home(tmp_path)
    served: Any = Served()
    pool = Pool("digests", 1)
    try:
        digests = TreeDigests(materialise=home, store=home, threads=pool)
        asked = FileDigests(ref=Ref(id="r", home="h"), vertex=Digest("sha256:" + "0" * 64), scope=Scope(lease="l"))
        found = await digests.digest(asked, served)
    finally:
        pool.threads.shutdown()

    assert found.digests == {"dir/file": "sha256:" + hashlib.sha256(b"content").hexdigest()}
