"""Modes as chmod(1) writes them, compared with chmod(1) itself."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from services.executor.core.chmod import apply_mode, parse_mode
from shared.errors import InvalidInput

TEXTS = [
    "755",
    "0644",
    "4711",
    "u+x",
    "go-w",
    "a=rX",
    "u=rwx,go=",
    "+x",
    "g=u",
    "o+t",
    "ug+s",
    "u-s",
    "a-rwx,u+rw",
    "=r",
    "u+X,g-X",
    "u=s",
    "g+rs,o-x",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("mode", [0o644, 0o755, 0o4750, 0o2711, 0o1777, 0o000, 0o600])
@pytest.mark.parametrize("kind", ["file", "dir"])
def test_same_as_chmod(tmp_path: Path, text: str, mode: int, kind: str) -> None:
    """With umask 0."""
    path = tmp_path / "x"
    path.mkdir() if kind == "dir" else path.touch()
    os.chmod(path, mode)
    before = path.stat().st_mode
    subprocess.run(["/bin/sh", "-c", 'umask 0; exec chmod "$1" "$2"', "sh", text, str(path)], check=True, timeout=10)
    expected = stat.S_IMODE(path.stat().st_mode)
    if kind == "dir" and text.isdigit():
        pytest.skip("chmod(1) keeps set-id bits of directories when the mode is a number; COPY --chmod sets what is written")

    assert oct(apply_mode(parse_mode(text), before)) == oct(expected)


@pytest.mark.parametrize("text", ["", "999", "u+q", "z+x", "u", "77777", "u+x,", "u=gr"])
def test_nonsense(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid mode"):
        parse_mode(text)
