"""Contents arrive whole, whatever the file is made of."""

import os
from pathlib import Path

import pytest

from services.executor.adapters.tree_copy import copy_content

MB = 1 << 20


def sparse(path: Path, size: int, *islands: tuple[int, bytes]) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        for at, data in islands:
            file.seek(at)
            file.write(data)
    return path


@pytest.mark.parametrize(
    ("size", "islands"),
    [
        (30 * MB, []),
        (30 * MB, [(0, b"first")]),
        (30 * MB, [(30 * MB - 4, b"last")]),
        (30 * MB + 5, [(10 * MB, os.urandom(3 * MB)), (20 * MB + 1, b"x")]),
    ],
)
def test_holes_stay_holes(tmp_path: Path, size: int, islands: list[tuple[int, bytes]]) -> None:
    source = sparse(tmp_path / "source", size, *islands)
    target = tmp_path / "target"
    with source.open("rb") as old, target.open("wb") as new:
        copy_content(old.fileno(), new.fileno(), size)

    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks <= source.stat().st_blocks + 16


@pytest.mark.parametrize("size", [0, 1, 64 << 10, (64 << 10) + 1, 3 * MB])
def test_full_files(tmp_path: Path, size: int) -> None:
    (tmp_path / "source").write_bytes(os.urandom(size))
    with (tmp_path / "source").open("rb") as old, (tmp_path / "target").open("wb") as new:
        copy_content(old.fileno(), new.fileno(), size)

    assert (tmp_path / "target").read_bytes() == (tmp_path / "source").read_bytes()
