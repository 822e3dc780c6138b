"""Layer tars have the diff ids that containerd's own code gives the same trees (util/overlay WriteUpperdir, archive WriteDiff)."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from services.executor.adapters.layer_changes import Change, ChangeKind, overlay_changes, tree_changes
from services.executor.adapters.layer_tar import layer_tar
from shared.errors import Internal
from shared.oci import EMPTY_TAR_DIFF_ID
from shared.oci.tar_parse import Member, TarReader
from tests.unit.services.executor.adapters.layer_trees import CAPABILITY, lower_and_upper

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.getuid() != 0, reason="needs root")]
DIFF = "87b3c25dbaecdf2d301e84a72ad1727fb87fce8373655158a6320a8e60d9b222"
WHOLE_LOWER = "e9b76c8e047eaf0858087919a797c068a0e6cbd68c893368d72bf9939d41ae02"


def tar(changes: Iterable[Change], after: Path, latest: int | None = None) -> bytes:
    """The whole tar."""

    def parent(path: str) -> Change:
        return Change(ChangeKind.MODIFY, path, os.lstat(after / path), str(after / path))

    return b"".join(layer_tar(changes, parent, latest=latest))


def members(data: bytes) -> dict[str, Member]:
    """By name."""
    return {m.name.decode(): m for m in TarReader(iter([data]))}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_as_containerd_does(tmp_path: Path) -> None:
    """The difference of an upper directory, a whole tree, and the same difference found by comparing two views."""
    lower, upper = lower_and_upper(tmp_path)

    assert sha256(tar(overlay_changes(str(upper), (str(lower),)), upper)) == DIFF
    assert sha256(tar(tree_changes((str(lower),), (str(upper), str(lower))), upper)) == DIFF
    assert sha256(tar(tree_changes((), (str(lower),)), lower)) == WHOLE_LOWER
    assert sha256(tar(overlay_changes(str(lower), ()), lower)) == WHOLE_LOWER


def test_members(tmp_path: Path) -> None:
    """Deletions by name, also in opaque directories; links, capabilities; nothing of what is unchanged but the parents of changes."""
    lower, upper = lower_and_upper(tmp_path)
    found = members(tar(overlay_changes(str(upper), (str(lower),)), upper))

    assert {".wh.gone", "opaque/.wh.old", "deep/er/.wh.file"} == {n for n in found if ".wh." in n}
    assert not {"same", "never-was", "deep/old"} & found.keys() and {"deep/", "deep/er/", "opaque/"} <= found.keys()
    assert (found["a/one"].typeflag, found["a/two"].typeflag, found["a/two"].linkname) == (b"0", b"1", b"a/one")
    assert found["capable"].xattrs == {b"security.capability": CAPABILITY}
    assert (found["meta"].mode, found["a/"].uid, found["a/"].gid) == (0o4711, 7, 8)
    names = list(found)
    assert names.index("a/two") < names.index("a-b"), "a directory's entries come right after it"


def test_times_are_clamped(tmp_path: Path) -> None:
    """Later times become the given one, earlier ones stay."""
    lower, upper = lower_and_upper(tmp_path)
    found = members(tar(overlay_changes(str(upper), (str(lower),)), upper, latest=1_050_000_000))

    assert tuple(found[n].mtime // 10**9 for n in ("content", "meta", ".wh.gone")) == (1_050_000_000, 1_000_000_000, 0)


def test_nothing_changed(tmp_path: Path) -> None:
    """An empty layer is the well-known empty tar; sockets are left out."""
    import socket

    lower, _ = lower_and_upper(tmp_path)
    (tmp_path / "e").mkdir()
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "e" / "socket"))

    assert "sha256:" + sha256(tar(tree_changes((str(lower),), (str(lower),)), lower)) == EMPTY_TAR_DIFF_ID
    assert "sha256:" + sha256(tar(overlay_changes(str(tmp_path / "e"), (str(lower),)), tmp_path / "e")) == EMPTY_TAR_DIFF_ID


def test_a_file_that_shrinks(tmp_path: Path) -> None:
    """A tar can't take back the size it announced."""
    (tmp_path / "f").write_bytes(bytes(100))
    (change,) = overlay_changes(str(tmp_path), ())
    os.truncate(tmp_path / "f", 50)

    with pytest.raises(Internal, match="became shorter"):
        tar([change], tmp_path)


def test_renamed_directories_are_refused(tmp_path: Path) -> None:
    """What redirect_dir made can't be diffed, and must not be diffed wrongly."""
    lower, upper = lower_and_upper(tmp_path)
    os.setxattr(upper / "deep", "trusted.overlay.redirect", b"/elsewhere")

    with pytest.raises(Internal, match="redirect_dir"):
        tar(overlay_changes(str(upper), (str(lower),)), upper)
