"""Actions carried out in the upper directory leave what they leave through a real overlay mount."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from services.executor.adapters import syscalls
from services.executor.adapters.file_system import act
from services.executor.adapters.overlayfs import mount_overlay, overlay_works
from services.executor.adapters.upper_writes import opens_upper
from services.executor.core.snapshots import Layer, LayerStyle
from shared.errors import BuildFailed
from shared.llb import Action, Copy, MkDir, MkFile, Rm, Symlink

OLD = 1_000_000_000


@pytest.fixture
def lowers(tmp_path: Path) -> tuple[str, ...]:
    """Topmost first. The upper one deletes `gone` and `dir/gone`, hides what lies below `opaque`."""
    base, above = tmp_path / "base", tmp_path / "above"
    for path in ("dir/deep", "dir/gone", "gone/x", "opaque/hidden", "private"):
        (base / path).mkdir(parents=True)
    (base / "dir/file").write_text("old")
    (base / "link").symlink_to("dir")
    (base / "private").chmod(0o700)
    os.chown(base / "private", 7, 8)
    os.setxattr(base / "private", "user.note", b"kept")
    (above / "dir/deep").mkdir(parents=True)
    (above / "opaque").mkdir()
    os.mknod(above / "gone", stat.S_IFCHR)
    os.mknod(above / "dir/gone", stat.S_IFCHR)
    os.setxattr(above / "opaque", "trusted.overlay.opaque", b"y")
    for root in (base, above):
        for folder, _, files in os.walk(root, topdown=False):
            for name in (*files, "."):
                os.utime(Path(folder, name), (OLD, OLD), follow_symlinks=False)
    return str(above), str(base)


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "source"
    (path / "some/below").mkdir(parents=True)
    (path / "file").write_text("new")
    (path / "some/below/file").write_text("new")
    return str(path)


@pytest.fixture(autouse=True)
def overlay(tmp_path: Path) -> Iterator[None]:
    if not overlay_works(str(tmp_path)):
        pytest.skip("no overlayfs here")
    yield
    syscalls.detach(str(tmp_path / "at"))


def copy(src: str, dest: str, **more: object) -> Copy:
    return Copy(src=src, dest=dest, create_dest_path=True, dir_copy_contents=True, allow_wildcard=True, **more)  # type: ignore[arg-type]


IN_UPPER = [
    MkFile(path="/new", data=b"x", mode=0o600),
    MkFile(path="/dir/deep/new", data=b"x"),
    MkFile(path="/gone", data=b"back"),
    MkDir(path="/private/a/b", make_parents=True),
    MkDir(path="/dir/gone"),
    MkDir(path="/opaque/hidden/now", make_parents=True),
    MkDir(path="/no/parent"),
    Symlink(oldpath="dir", newpath="/dir/deep/link"),
    copy("/file", "/dir/deep/"),
    copy("/file", "/dir/deep/other"),
    copy("/some", "/dir/deep"),
    copy("/some", "/app/"),
    copy("/", "/"),
]

THROUGH_MOUNT = [
    MkFile(path="/dir/file", data=b"x"),
    MkFile(path="/link/new", data=b"x"),
    MkFile(path="/dir/../new", data=b"x"),
    MkDir(path="/dir/deep"),
    Rm(path="/dir/file"),
    copy("/f*", "/"),
    copy("/", "/", attempt_unpack=True),
    copy("/missing", "/"),
    copy("/file", "/dir/file"),
    copy("/some", "/dir/file"),
    Copy(src="/some", dest="/dir"),
]


def shown(root: str) -> dict[str, tuple[object, ...]]:
    """All that is there; times only where they were set long ago."""
    found = {}
    for folder, dirs, files in os.walk(root):
        for name in (*dirs, *files, "."):
            path = os.path.join(folder, name)
            info = os.lstat(path)
            content = os.readlink(path) if stat.S_ISLNK(info.st_mode) else Path(path).read_bytes() if stat.S_ISREG(info.st_mode) else b""
            marks = [n for n in os.listxattr(path, follow_symlinks=False) if n.startswith("user.") or n == "trusted.overlay.opaque"]
            time = info.st_mtime if info.st_mtime == OLD else 0
            found[os.path.relpath(path, root)] = (info.st_mode, info.st_uid, info.st_gid, time, content, marks)
    return found


def trees(tmp_path: Path, lowers: Sequence[str], upper: Path) -> tuple[dict[str, tuple[object, ...]], ...]:
    """The layer itself, and what shows when it lies above the others."""
    at = tmp_path / "at"
    at.mkdir(exist_ok=True)
    mount_overlay(str(at), [str(upper), *lowers])
    try:
        return shown(str(upper)), shown(str(at))
    finally:
        syscalls.unmount(str(at))


def layer(tmp_path: Path, name: str, lowers: tuple[str, ...]) -> Layer:
    path = tmp_path / name
    path.mkdir()
    os.utime(path, (OLD, OLD))
    return Layer(id=name, style=LayerStyle.OVERLAY, path=str(path), lowers=lowers)


@pytest.mark.parametrize("action", IN_UPPER, ids=str)
def test_as_through_a_mount(action: Action, tmp_path: Path, lowers: tuple[str, ...], source: str) -> None:
    own, mounted, at = layer(tmp_path, "own", lowers), layer(tmp_path, "mounted", lowers), tmp_path / "at"
    at.mkdir()
    mount_overlay(str(at), lowers, mounted.path, str(tmp_path / "work"))
    with suppress(BuildFailed):
        act(action, str(at), source, None)
    syscalls.unmount(str(at))

    assert opens_upper(own, action, source)

    with suppress(BuildFailed):
        act(action, own.path, source, None)
    assert trees(tmp_path, lowers, Path(own.path)) == trees(tmp_path, lowers, Path(mounted.path))


@pytest.mark.parametrize("action", THROUGH_MOUNT, ids=str)
def test_what_needs_the_mount_leaves_the_layer_alone(action: Action, tmp_path: Path, lowers: tuple[str, ...], source: str) -> None:
    own = layer(tmp_path, "own", lowers)

    assert not opens_upper(own, action, source)
    assert not os.listdir(own.path)


def test_what_an_earlier_action_deleted_is_not_made_beside_the_mark(tmp_path: Path, lowers: tuple[str, ...]) -> None:
    own = layer(tmp_path, "own", lowers)
    os.mknod(f"{own.path}/dir", stat.S_IFCHR)

    assert not opens_upper(own, MkDir(path="/dir/again", make_parents=True), None)


def test_native_layers_have_no_upper(tmp_path: Path) -> None:
    whole = Layer(id="x", style=LayerStyle.FULL, path=str(tmp_path), lowers=(str(tmp_path),))

    assert not opens_upper(whole, MkDir(path="/new"), None)
