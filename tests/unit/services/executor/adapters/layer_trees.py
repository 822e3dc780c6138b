"""A lower directory and an overlay upper directory with everything in them that a differ has to get right; all times fixed."""

import os
import stat
from pathlib import Path

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def _write(path: Path, text: str, seconds: float = 1_000_000_000) -> None:
    path.write_text(text)
    path.chmod(0o644)
    os.utime(path, (seconds, seconds))


def _mkdir(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)


def _settle(root: Path) -> None:
    """The same time for every directory."""
    for folder, _, _ in os.walk(root, topdown=False):
        os.utime(folder, (1_000_000_000, 1_000_000_000))


def lower_and_upper(root: Path) -> tuple[Path, Path]:
    """Made below `root`; needs root's rights."""
    lower, upper = root / "lower", root / "upper"
    for folder in (lower, upper):
        _mkdir(folder)
    for name in ("same", "gone", "meta", "content", "dir-to-file", "opaque", "deep"):
        if name in ("dir-to-file", "opaque", "deep"):
            _mkdir(lower / name)
            _write(lower / name / "old", name)
        else:
            _write(lower / name, name)
    _mkdir(lower / "deep/er")
    _write(lower / "deep/er/file", "x")
    _settle(lower)

    _write(upper / "same", "same")  # copied up, unchanged
    os.mknod(upper / "gone", stat.S_IFCHR, 0)
    os.mknod(upper / "never-was", stat.S_IFCHR, 0)
    _write(upper / "meta", "meta")
    (upper / "meta").chmod(0o4711)
    _write(upper / "content", "CONTENT", 1_100_000_000.5)
    _write(upper / "dir-to-file", "file now")
    _mkdir(upper / "opaque")
    _write(upper / "opaque/new", "n")
    os.setxattr(upper / "opaque", "trusted.overlay.opaque", b"y")
    _mkdir(upper / "deep")
    _mkdir(upper / "deep/er")
    _write(upper / "deep/er/added", "a")
    os.mknod(upper / "deep/er/file", stat.S_IFCHR, 0)
    _mkdir(upper / "a")
    _write(upper / "a/one", "1")
    os.link(upper / "a/one", upper / "a/two")
    _write(upper / "a-b", "sorts after a/…")
    _write(upper / ("n" * 120), "long")
    _write(upper / "é", "utf-8")
    (upper / "link").symlink_to("a/one")
    os.utime(upper / "link", (1, 1), follow_symlinks=False)
    os.mkfifo(upper / "pipe")
    (upper / "pipe").chmod(0o600)
    os.utime(upper / "pipe", (2, 2))
    os.mknod(upper / "null", stat.S_IFCHR, os.makedev(1, 3))
    (upper / "null").chmod(0o666)
    os.utime(upper / "null", (3, 3))
    _write(upper / "capable", "c")
    os.setxattr(upper / "capable", "security.capability", CAPABILITY)
    os.setxattr(upper / "capable", "user.note", b"not in layers")
    os.chown(upper / "a", 7, 8)
    _settle(upper)
    return lower, upper
