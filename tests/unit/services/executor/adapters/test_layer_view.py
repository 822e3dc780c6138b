"""Views show what an overlay mount of the same directories shows."""

import os
import subprocess
from pathlib import Path

import pytest

from services.executor.adapters.layer_view import is_opaque, look, names, view_of
from tests.unit.services.executor.adapters.layer_trees import lower_and_upper

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.getuid() != 0, reason="needs root")]


def seen(view: tuple[str, ...], prefix: str = "") -> dict[str, tuple[int, int, int]]:
    """Every path of a view with mode, owner and size (of files)."""
    found = {}
    for name in names(view):
        entry = look(view, name)
        assert entry is not None
        st = entry.stat
        found[prefix + name] = (st.st_mode, st.st_uid, 0 if entry.below else st.st_size)
        found.update(seen(entry.below, f"{prefix}{name}/"))
    return found


def mounted(directories: tuple[str, ...], at: Path) -> dict[str, tuple[int, int, int]]:
    """The same, as the kernel shows it."""
    at.mkdir()
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={':'.join(directories)}", str(at)], check=True, timeout=20)
    try:
        paths = list(at.rglob("*"))
        return {str(p.relative_to(at)): _looks(p) for p in paths}
    finally:
        subprocess.run(["umount", str(at)], check=True, timeout=20)


def _looks(path: Path) -> tuple[int, int, int]:
    st = path.lstat()
    return st.st_mode, st.st_uid, 0 if path.is_dir() and not path.is_symlink() else st.st_size


def test_as_the_kernel_does(tmp_path: Path) -> None:
    """Whiteouts, opaque directories, files in place of directories, over two layers and over three."""
    lower, upper = lower_and_upper(tmp_path)
    top = tmp_path / "top"
    (top / "a").mkdir(parents=True)
    (top / "a" / "more").write_text("x")
    (top / "content").mkdir()
    os.mknod(top / "opaque", 0o020000, 0)

    for layers in ((str(upper), str(lower)), (str(top), str(upper), str(lower))):
        assert mounted(layers, tmp_path / f"m{len(layers)}") == seen(view_of(layers))


def test_opaque_root_and_missing_names(tmp_path: Path) -> None:
    """An opaque root hides all layers below; a name that is nowhere is None."""
    lower, upper = lower_and_upper(tmp_path)
    os.setxattr(upper, "trusted.overlay.opaque", b"y")
    view = view_of((str(upper), str(lower)))

    assert (str(upper),) == view and is_opaque(str(upper)) and not is_opaque(str(lower))
    assert look(view, "nothing") is None and look((), "x") is None
