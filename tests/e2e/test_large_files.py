"""Files much larger than all windows and queues pass through: at once, whole, in little memory, and holes cost no disk."""

import os
import re
from collections.abc import Callable
from hashlib import file_digest
from pathlib import Path

import pytest

from tests.kit.clients import Buildctl
from tests.kit.parts.buildkitd import daemon, our_buildmeshd

pytestmark = [pytest.mark.root, pytest.mark.slow]

SIZE = 600 << 20
DATA = 120 << 20


def peak(pid: int) -> int:
    """The most memory that the process has had, bytes."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def disk(folder: Path) -> int:
    """Bytes in use below a folder."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def test_a_large_sparse_file_comes_and_goes(tmp_path: Path, context: Callable[..., Path]) -> None:
    folder = context("FROM scratch\nCOPY large /\n")
    with (folder / "large").open("wb") as file:
        file.seek(SIZE // 2)
        for _ in range(DATA >> 20):
            file.write(os.urandom(1 << 20))
        file.truncate(SIZE)
    with daemon(tmp_path / "daemon", our_buildmeshd()) as started:
        buildctl = Buildctl(addr=started.addr, work=tmp_path / "buildctl")
        buildctl.build(context("FROM scratch\nCOPY Dockerfile /\n", name="warm"))
        before = peak(started.part.pid)

        buildctl.build(folder, "--output", f"type=local,dest={tmp_path / 'out'}")

        assert digest(tmp_path / "out" / "large") == digest(folder / "large")
        assert peak(started.part.pid) - before < 64 << 20
        assert disk(started.root) < 2 * DATA + (16 << 20)
