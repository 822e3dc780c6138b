"""Trees as tars, and as lists of entries."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from services.executor.adapters.tree_entries import ShownTree, merged, open_in
from services.executor.adapters.tree_tar import tar_chunks
from shared.errors import BuildFailed


def tree(folder: Path, **files: str) -> str:
    folder.mkdir()
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return str(folder)


def read(*trees: ShownTree) -> tarfile.TarFile:
    data = b"".join(tar_chunks(merged(trees), lambda path: open_in(trees, path)))
    return tarfile.open(fileobj=io.BytesIO(data))


def test_tars_hold_the_tree(tmp_path: Path) -> None:
    """Files, links, folders, modes and times."""
    root = tree(tmp_path / "t", a="one", sub__b="two")
    os.link(f"{root}/a", f"{root}/hard")
    os.symlink("a", f"{root}/soft")
    os.chmod(f"{root}/a", 0o4755)
    tar = read(ShownTree(root=root, epoch=7))

    assert tar.getnames() == ["a", "hard", "soft", "sub", "sub/b"]
    assert tar.extractfile("sub/b").read() == b"two"  # type: ignore[union-attr]
    assert (tar.getmember("a").mode, tar.getmember("hard").linkname, tar.getmember("soft").linkname) == (0o4755, "a", "a")
    assert {m.mtime for m in tar.getmembers()} == {7}


def test_times_are_rounded(tmp_path: Path) -> None:
    """To the nearest second, as the real daemon's archives have them."""
    root = tree(tmp_path / "t", early="", late="")
    os.utime(f"{root}/early", ns=(0, 5_499_999_999))
    os.utime(f"{root}/late", ns=(0, 5_500_000_000))

    assert {m.name: m.mtime for m in read(ShownTree(root=root)).getmembers()} == {"early": 5, "late": 6}


def test_platforms_get_folders(tmp_path: Path) -> None:
    """In the protocol's order, with the folder itself first."""
    one, two = tree(tmp_path / "1", f="1"), tree(tmp_path / "2", f="2")
    tar = read(ShownTree(root=one, prefix="linux_amd64"), ShownTree(root=two, prefix="linux_arm64"))

    assert tar.getnames() == ["linux_amd64", "linux_amd64/f", "linux_arm64", "linux_arm64/f"]
    assert tar.extractfile("linux_arm64/f").read() == b"2"  # type: ignore[union-attr]


def test_equal_paths_without_split_are_refused(tmp_path: Path) -> None:
    """Folders may be shared, files not."""
    one, two = tree(tmp_path / "1", d__x="1", d__same="1"), tree(tmp_path / "2", d__y="2", d__same="2")
    with pytest.raises(BuildFailed, match=r"cannot overwrite d/same from a with b when split option is disabled"):
        read(ShownTree(root=one, label="a"), ShownTree(root=two, label="b"))


def test_scratch_is_empty() -> None:
    """No members at all."""
    assert read(ShownTree(root="")).getnames() == []
