"""Unpacking keeps every member inside, whatever it claims, and turns whiteouts into what the snapshotter needs."""

import os
import stat
from pathlib import Path

import pytest

from services.executor.adapters.layer_unpack import Whiteouts, put_on, unpack_apart, unpack_layer
from shared.errors import InvalidInput
from shared.oci.tar_header import encode_header, padding

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.getuid() != 0, reason="needs root")]


def member(name: str, data: bytes = b"", **fields: object) -> bytes:
    """One member with its data."""
    raw = {k: v.encode() if isinstance(v, str) else v for k, v in fields.items()}
    head = encode_header(name=name.encode(), size=len(data), **{"mode": 0o644, **raw})  # type: ignore[arg-type]
    return head + data + padding(len(data))


def unpack(target: Path, *members: bytes, whiteouts: Whiteouts = Whiteouts.OVERLAY, lowers: tuple[str, ...] = ()) -> int:
    """Unpack members into `target`."""
    target.mkdir(exist_ok=True)
    return unpack_layer(iter([*members, bytes(1024)]), str(target), whiteouts=whiteouts, lowers=lowers)


def test_metadata(tmp_path: Path) -> None:
    """Owner, mode with special bits, times, links, devices; directory times are set last."""
    t = tmp_path / "t"
    size = unpack(
        t,
        member("d/", typeflag=b"5", mode=0o1777, mtime=5),
        member("d/f", b"data", mode=0o4755, uid=7, gid=8, mtime=9),
        member("d/s", typeflag=b"2", linkname="f", mode=0o777, mtime=3),
        member("d/h", typeflag=b"1", linkname="d/f"),
        member("d/p", typeflag=b"6"),
        member("d/c", typeflag=b"3", major=1, minor=3),
    )

    f = (t / "d/f").stat()
    assert (size, f.st_mode, f.st_uid, f.st_gid, f.st_mtime, f.st_nlink) == (4, 0o104755, 7, 8, 9, 2)
    assert ((t / "d").stat().st_mode, (t / "d").stat().st_mtime) == (0o41777, 5)
    assert os.readlink(t / "d/s") == "f"
    assert stat.S_ISFIFO((t / "d/p").stat().st_mode) and os.makedev(1, 3) == (t / "d/c").stat().st_rdev


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "a/../../evil", "..//../evil", "./../evil", "up/evil", "abs/evil", "chain/x/evil", "loop2up/evil"]
)
def test_nothing_leaves_the_root(tmp_path: Path, name: str) -> None:
    """Dots, absolute names and links made by earlier members all stay inside."""
    t = tmp_path / "outer" / "t"
    t.parent.mkdir()
    unpack(
        t,
        member("up", typeflag=b"2", linkname="../../.."),
        member("abs", typeflag=b"2", linkname=str(tmp_path)),
        member("chain", typeflag=b"2", linkname="up"),
        member("loop2up", typeflag=b"2", linkname="chain/../up"),
        member(name, b"evil"),
    )

    assert [t] == list((tmp_path / "outer").iterdir()) and [tmp_path / "outer"] == list(tmp_path.iterdir())
    assert b"evil" in [p.read_bytes() for p in t.rglob("evil")]


def test_hard_links_stay_inside(tmp_path: Path) -> None:
    """A hard link's target is resolved inside too; one that leads nowhere is an error that names the member."""
    (tmp_path / "secret").write_text("s")
    for target in ("../secret", str(tmp_path / "secret"), "up/secret", "."):
        with pytest.raises(InvalidInput, match="can't unpack 'h'"):
            unpack(tmp_path / "t", member("up", typeflag=b"2", linkname=".."), member("h", typeflag=b"1", linkname=target))


def test_a_link_is_replaced_not_written_through(tmp_path: Path) -> None:
    """A file over an earlier link takes the link's place; so does a directory; the target stays as it was."""
    (tmp_path / "victim").write_text("v")
    (tmp_path / "dir").mkdir()
    t = tmp_path / "t"
    unpack(
        t,
        member("a", typeflag=b"2", linkname=str(tmp_path / "victim")),
        member("a", b"new"),
        member("b", typeflag=b"2", linkname=str(tmp_path / "dir")),
        member("b/", typeflag=b"5", mode=0o700),
        member("b/x", b"x"),
    )

    assert ((tmp_path / "victim").read_text(), (t / "a").read_text(), (t / "b/x").read_bytes()) == ("v", "new", b"x")
    assert not (t / "b").is_symlink() and list((tmp_path / "dir").iterdir()) == []


def test_damaged_and_impossible(tmp_path: Path) -> None:
    """Each refusal is an InvalidInput, none a crash."""
    cases = [
        [member("x", typeflag=b"Z")],
        [member("f", b"x"), member("f/below", b"y")],
        [member("l", typeflag=b"2", linkname="l"), member("l/x", b"")],
        [member("n" * 300, b"")],
        [member("d/" * 2100 + "f", b"")],
        [member("s", typeflag=b"2", linkname="")],
        [b"\xff" * 512],
    ]
    for members in cases:
        with pytest.raises(InvalidInput):
            unpack(tmp_path / "t", *members)


def test_host_attributes_are_ignored(tmp_path: Path) -> None:
    """trusted.* and overlay marks in an archive never reach the disk; capabilities do."""
    cap = bytes.fromhex("0100000200200000000000000000000000000000")
    records = {
        b"SCHILY.xattr.trusted.overlay.opaque": b"y",
        b"SCHILY.xattr.security.capability": cap,
        b"SCHILY.xattr.user.overlay.opaque": b"y",
    }
    unpack(tmp_path / "t", member("f", b"x", records=records), member("d/", typeflag=b"5", mode=0o755, records={**records}))

    assert os.listxattr(tmp_path / "t/f") == ["security.capability"]
    assert not [a for a in os.listxattr(tmp_path / "t/d") if "overlay" in a]


def test_overlay_whiteouts(tmp_path: Path) -> None:
    """Deletions become char devices 0/0, opaque markers the attribute, a directory over a deletion is opaque; without lowers nothing."""
    lower = tmp_path / "lower"
    (lower / "d/sub").mkdir(parents=True)
    members = [
        member(".wh.gone"),
        member("d/.wh..wh..opq"),
        member("d/.wh..wh.plnk"),
        member(".wh.again"),
        member("again/", typeflag=b"5", mode=0o755),
        member(".wh.below"),
        member("below/x", b""),
    ]
    unpack(tmp_path / "t", *members, lowers=(str(lower),))
    unpack(tmp_path / "base", *members)

    gone = (tmp_path / "t/gone").lstat()
    assert stat.S_ISCHR(gone.st_mode) and gone.st_rdev == 0
    assert [os.getxattr(tmp_path / "t" / d, "trusted.overlay.opaque") for d in ("d", "again", "below")] == [b"y"] * 3
    assert sorted(os.listdir(tmp_path / "base")) == ["again", "below", "d"]


def test_missing_parents_look_as_below(tmp_path: Path) -> None:
    """A directory that the layer leaves out takes owner, mode and time from the lower layer."""
    lower = tmp_path / "lower"
    (lower / "d").mkdir(parents=True)
    (lower / "d").chmod(0o1770)
    os.chown(lower / "d", 5, 6)
    os.utime(lower / "d", (7, 7))
    unpack(tmp_path / "t", member("d/f", b""), member("e/f", b""), lowers=(str(lower),))

    d, e = (tmp_path / "t/d").stat(), (tmp_path / "t/e").stat()
    assert (d.st_mode, d.st_uid, d.st_gid, d.st_mtime) == (0o41770, 5, 6, 7)
    assert (e.st_mode, e.st_uid) == (0o40755, 0)


def test_removal_in_full_trees(tmp_path: Path) -> None:
    """In a full tree whiteouts delete at once, but never what the same layer wrote."""
    t = tmp_path / "t"
    (t / "d/old/deep").mkdir(parents=True)
    (t / "x").write_text("x")
    unpack(
        t, member("d/new", b"n"), member("d/.wh..wh..opq"), member(".wh.x"), member("y", b"y"), member(".wh.y"), whiteouts=Whiteouts.REMOVE
    )

    assert sorted(os.listdir(t)) == ["d", "y"] and os.listdir(t / "d") == ["new"]


def test_many_directories(tmp_path: Path) -> None:
    """More directories than are kept open, visited again and again, and a link between two deep ones."""
    names = [f"a{i}/b{j}/" for i in range(30) for j in range(10)]
    members = [member(n, typeflag=b"5", mode=0o755) for n in names] + [member(n + "f", n.encode()) for n in reversed(names)]
    deep1, deep2 = "p/" * 200, "q/" * 200
    unpack(tmp_path / "t", *members, member(deep1 + "f", b"1"), member(deep2 + "h", typeflag=b"1", linkname=deep1 + "f"))

    assert all((tmp_path / "t" / n / "f").read_text() == n for n in names)
    assert (tmp_path / "t" / deep2 / "h").read_bytes() == b"1"
    assert len(os.listdir("/proc/self/fd")) < 100


def looks(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything that counts of a layer's own directory."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        info = path.lstat()
        attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}
        time = info.st_mtime if info.st_mtime < 1e9 else "now"
        found[str(path.relative_to(root))] = (info.st_mode, info.st_uid, info.st_gid, info.st_rdev, time, attributes)
    return found


def test_unpacked_apart_a_layer_is_the_same(tmp_path: Path) -> None:
    """Parents that the tar leaves out are dressed when the layers below are there; those that it gives later, or replaces, are not."""
    lower = tmp_path / "lower"
    for path in ("kept/deep", "given", "file", "gone", "opaque"):
        (lower / path).mkdir(parents=True)
        os.chown(lower / path, 5, 6)
        (lower / path).chmod(0o2750)
        os.utime(lower / path, (7, 7))
    os.chown(lower, 9, 9)
    lower.chmod(0o1777)
    members = (
        member("kept/deep/f", b"1"),
        member("given/f", b"2"),
        member("given/", typeflag=b"5", mode=0o711, mtime=4),
        member("file/f", b"3"),
        member("file", b"now a file", mtime=3),
        member(".wh.gone"),
        member("gone/again", b"4"),
        member("opaque/.wh..wh..opq"),
        member("new/f", b"5"),
    )
    for number, more in enumerate(((), (member("./", typeflag=b"5", mode=0o700, uid=3),))):
        one, two = tmp_path / f"one{number}", tmp_path / f"two{number}"
        for target in (one, two):
            target.mkdir()
            os.chown(target, 9, 9)  # as a new snapshot over `lower` has it
            target.chmod(0o1777)
        unpack(one, *members, *more, lowers=(str(lower),))
        os.chown(two, 0, 0)
        two.chmod(0o755)  # as one on scratch has it
        put_on(str(two), unpack_apart(iter([*members, *more, bytes(1024)]), str(two)), (str(lower),))
        assert looks(one) == looks(two)
    assert looks(two)["kept/deep"][:3] == (stat.S_IFDIR | 0o2750, 5, 6)
