"""Writing a tree by descriptors: each step, replacing what stands in the way, and never through a symlink."""

import os
import stat
from pathlib import Path

import pytest

from shared.errors import InvalidInput
from shared.fsutil import Stat, mode
from shared.fsutil.receiver import AppendFile, BeginFile, EndFile, LinkFile, MakeEntry, Remove, Step, TouchDirectory, WriteFile
from shared.session.tree_writer import TreeWriter, remove_tree

MOMENT = 10**18
ME = (os.getuid(), os.getgid())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_text("kept")
    return tmp_path / "root"


def write(root: Path, *steps: Step, owner: tuple[int, int] | None = ME) -> None:
    with TreeWriter(root, owner=owner) as writer:
        writer.apply(steps)


def file(path: str, permissions: int = 0o640) -> Stat:
    return Stat(path, permissions, mtime=MOMENT)


def folder(path: str, permissions: int = 0o750) -> MakeEntry:
    return MakeEntry(Stat(path, mode.DIR | permissions, mtime=MOMENT))


def link(path: str, to: str) -> MakeEntry:
    return MakeEntry(Stat(path, mode.SYMLINK | 0o777, mtime=MOMENT, linkname=to))


def test_files_whole_and_in_pieces(root: Path) -> None:
    write(
        root,
        folder("d"),
        WriteFile(file("d/whole"), b"abc"),
        BeginFile(file("pieces"), 1),
        AppendFile(1, b"ab"),
        AppendFile(1, b"c"),
        EndFile(1),
    )

    assert (root / "d/whole").read_bytes() == (root / "pieces").read_bytes() == b"abc"
    info = (root / "pieces").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_mtime_ns) == (0o640, MOMENT)


def test_the_other_kinds(root: Path) -> None:
    write(
        root,
        folder("d", 0o700),
        link("s", "/anywhere"),
        MakeEntry(Stat("p", mode.NAMED_PIPE | 0o600, mtime=MOMENT)),
        WriteFile(file("f"), b""),
        LinkFile(Stat("d/hard", 0o640, linkname="f")),
        TouchDirectory(Stat("d", mode.DIR, mtime=MOMENT)),
    )

    assert os.readlink(root / "s") == "/anywhere"
    assert stat.S_ISFIFO((root / "p").lstat().st_mode)
    assert (root / "f").stat().st_ino == (root / "d/hard").stat().st_ino
    assert (root / "d").stat().st_mtime_ns == (root / "s").lstat().st_mtime_ns == MOMENT


@pytest.mark.parametrize("old", ["file", "folder", "link", "pipe"])
@pytest.mark.parametrize("new", [WriteFile(file("x"), b"new"), folder("x"), link("x", "y")], ids=["file", "folder", "link"])
def test_what_stands_in_the_way_goes(root: Path, old: str, new: Step) -> None:
    place = root / "x"
    match old:
        case "file":
            place.write_text("old")
        case "folder":
            (place / "deep").mkdir(parents=True)
            (place / "deep/f").write_text("old")
        case "link":
            place.symlink_to("../outside")
        case _:
            os.mkfifo(place)
    write(root, new)

    match new:
        case WriteFile():
            assert stat.S_ISREG(place.lstat().st_mode) and place.read_bytes() == b"new"
        case MakeEntry(made) if made.mode & mode.DIR:
            assert stat.S_ISDIR(place.lstat().st_mode) and (place / "deep").exists() == (old == "folder")
        case _:
            assert os.readlink(place) == "y"
    assert os.listdir(root.parent / "outside") == ["kept"]


@pytest.mark.parametrize("step", [WriteFile(file("link/f"), b"evil"), folder("link/d"), link("link/s", "x"), Remove("link/kept")])
def test_nothing_goes_through_a_link(root: Path, step: Step) -> None:
    """A link to a folder outside is no folder: making fails, removing finds nothing."""
    (root / "link").symlink_to("../outside")
    if isinstance(step, Remove):
        write(root, step)
    else:
        with pytest.raises(OSError, match=r"link|Not a directory|symbolic"):
            write(root, step)

    assert os.listdir(root.parent / "outside") == ["kept"]


def test_removing(root: Path) -> None:
    write(root, folder("d"), folder("d/e"), WriteFile(file("d/e/f"), b"x"), WriteFile(file("g"), b""))
    write(root, Remove("d"), Remove("d/e/f"), Remove("never/was"), Remove("g"))

    assert os.listdir(root) == []


def test_a_removed_folder_can_be_made_again_at_once(root: Path) -> None:
    """Its descriptor is forgotten with it."""
    write(root, folder("d"), WriteFile(file("d/f"), b"1"), Remove("d"), folder("d"), WriteFile(file("d/g"), b"2"))

    assert os.listdir(root / "d") == ["g"]


def test_more_folders_than_descriptors_are_kept(root: Path) -> None:
    steps: list[Step] = []
    for number in range(200):
        steps += [folder(f"d{number}"), WriteFile(file(f"d{number}/f"), b"%d" % number)]
    before = len(os.listdir("/proc/self/fd"))
    write(root, *steps, *(WriteFile(file(f"d{number}/g"), b"") for number in range(200)))

    assert all(sorted(os.listdir(root / f"d{number}")) == ["f", "g"] for number in range(200))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_tree_deeper_than_a_path_may_be_is_removed(root: Path) -> None:
    top = os.open(root, os.O_RDONLY)
    here = os.dup(top)
    for _ in range(1500):
        os.mkdir("ddd", dir_fd=here)
        here, above = os.open("ddd", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    remove_tree("ddd", top)
    os.close(top)

    assert os.listdir(root) == []


def test_a_kind_that_can_not_be_made_is_named(root: Path) -> None:
    with pytest.raises(InvalidInput, match="'sock' is of a kind"):
        write(root, MakeEntry(Stat("sock", mode.SOCKET | 0o600)))


def test_after_closing_nothing_is_written(root: Path) -> None:
    writer = TreeWriter(root, owner=ME)
    writer.close()
    writer.close()

    with pytest.raises(AssertionError, match="closed"):
        writer.apply([WriteFile(file("f"), b"x")])
    assert os.listdir(root) == []


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_owners_and_devices(root: Path) -> None:
    owned = Stat("f", 0o600, uid=7, gid=8)
    null = Stat("null", mode.DEVICE | mode.CHAR_DEVICE | 0o666, devmajor=1, devminor=3)
    write(root, WriteFile(owned, b""), MakeEntry(null), owner=None)
    write(root, WriteFile(owned._replace(path="g"), b""), owner=(1, 2))

    assert ((root / "f").stat().st_uid, (root / "f").stat().st_gid) == (7, 8)
    assert ((root / "g").stat().st_uid, (root / "g").stat().st_gid) == (1, 2)
    assert (root / "null").stat().st_rdev == os.makedev(1, 3)
