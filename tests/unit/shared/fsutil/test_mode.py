"""Go's file modes."""

from __future__ import annotations

import stat

import pytest

from shared.fsutil import mode as modes


@pytest.mark.parametrize(
    ("unix", "go"),
    [
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFDIR | 0o1777, 1 << 31 | 1 << 20 | 0o777),
        (stat.S_IFLNK | 0o777, 1 << 27 | 0o777),
        (stat.S_IFREG | 0o4755, 1 << 23 | 0o755),
        (stat.S_IFREG | 0o2755, 1 << 22 | 0o755),
        (stat.S_IFCHR | 0o600, 1 << 26 | 1 << 21 | 0o600),
        (stat.S_IFBLK | 0o600, 1 << 26 | 0o600),
        (stat.S_IFIFO | 0o600, 1 << 25 | 0o600),
        (stat.S_IFSOCK | 0o600, 1 << 24 | 0o600),
    ],
)
def test_both_ways(unix: int, go: int) -> None:
    assert modes.to_go(unix) == go
    assert modes.to_unix(go) == unix


def test_unknown_type() -> None:
    with pytest.raises(ValueError, match="no known type"):
        modes.to_unix(modes.DIR | modes.SYMLINK)


def test_regular() -> None:
    assert modes.is_regular(modes.SETUID | 0o755)
    assert not modes.is_regular(modes.NAMED_PIPE)
