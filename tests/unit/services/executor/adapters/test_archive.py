"""ADD of archives: what every kind of member becomes, and that no member leaves its directory."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from services.executor.adapters.archive import unpack_archive
from services.executor.adapters.rooted import Rooted
from shared.errors import BuildFailed

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.getuid() != 0, reason="needs root")]

MOMENT = 1_000_000_000


def member(
    name: str, data: bytes | None = None, *, kind: bytes = tarfile.REGTYPE, **fields: object
) -> tuple[tarfile.TarInfo, bytes | None]:
    info = tarfile.TarInfo(name)
    info.type, info.mtime, info.mode = kind, MOMENT, 0o644
    info.size = len(data or b"")
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def tar(*members: tuple[tarfile.TarInfo, bytes | None]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data) if data is not None else None)
    return out.getvalue()


class World:
    def __init__(self, root: Path) -> None:
        self.root, self.source, self.target = root, root / "source", root / "target"
        self.source.mkdir()
        self.target.mkdir()
        (root / "outside").mkdir()

    def unpack(self, data: bytes, dest: str = "d", *, owner: tuple[int, int] | None = None) -> bool:
        (self.source / "a").write_bytes(data)
        with Rooted(str(self.source)) as source, Rooted(str(self.target)) as target:
            return unpack_archive(source, "a", target, dest, owner=owner, time_ns=None)

    @property
    def outside(self) -> list[str]:
        return os.listdir(self.root / "outside")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize(
    "packed",
    [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress],
    ids=["plain", "gzip", "bzip2", "xz", "zstd"],
)
def test_each_compression_is_found_out_by_content(world: World, packed: Callable[[bytes], bytes]) -> None:
    assert world.unpack(packed(tar(member("f", b"content"))))
    assert (world.target / "d/f").read_bytes() == b"content"


def test_members_keep_their_looks(world: World) -> None:
    world.unpack(
        tar(
            member("dir", kind=tarfile.DIRTYPE, mode=0o1750, uid=5, gid=6),
            member("dir/f", b"x", mode=0o4711, uid=7, gid=8, pax_headers={"SCHILY.xattr.user.k": "v"}),
            member("dir/hard", kind=tarfile.LNKTYPE, linkname="dir/f"),
            member("dir/soft", kind=tarfile.SYMTYPE, linkname="../anywhere"),
            member("dir/pipe", kind=tarfile.FIFOTYPE),
        )
    )
    made = world.target / "d/dir"
    look = {p.name: (stat.S_IMODE(p.lstat().st_mode), p.lstat().st_uid, p.lstat().st_gid) for p in [made, *made.iterdir()]}
    assert look["dir"] == (0o1750, 5, 6)
    assert look["f"] == look["hard"] == (0o4711, 7, 8)
    assert (made / "f").stat().st_ino == (made / "hard").stat().st_ino
    assert os.readlink(made / "soft") == "../anywhere"
    assert stat.S_ISFIFO((made / "pipe").lstat().st_mode)
    assert {p.lstat().st_mtime for p in [made, *made.iterdir()]} == {MOMENT}


def test_the_given_owner_is_everybody_s_but_of_implied_directories(world: World) -> None:
    world.unpack(tar(member("implied/f", b"x", uid=1, gid=1)), owner=(11, 12))

    assert (world.target / "d/implied/f").stat().st_uid == 11
    assert (world.target / "d/implied").stat().st_uid == 0
    assert (world.target / "d").stat().st_gid == 12


def test_later_members_replace_earlier_ones(world: World) -> None:
    world.unpack(
        tar(
            member("x", kind=tarfile.DIRTYPE, mode=0o755),
            member("x/f", b"1"),
            member("x", b"now a file"),
            member("y", b"f"),
            member("y", kind=tarfile.SYMTYPE, linkname="x"),
        )
    )

    assert (world.target / "d/x").read_bytes() == b"now a file"
    assert os.readlink(world.target / "d/y") == "x"


@pytest.mark.parametrize("data", [b"", b"text", b"\x1f\x8b\x08 no gzip", b"BZh no", b"PK\x03\x04"])
def test_what_is_no_archive_is_left_alone(world: World, data: bytes) -> None:
    assert not world.unpack(data)
    assert os.listdir(world.target) == []


def test_an_empty_archive_makes_its_directory(world: World) -> None:
    assert world.unpack(tar())
    assert os.listdir(world.target / "d") == []


@pytest.mark.parametrize("name", ["../outside/x", "a/../../outside/x", "/../x", ".."])
def test_members_that_point_outside_are_refused(world: World, name: str) -> None:
    with pytest.raises(BuildFailed, match="points outside"):
        world.unpack(tar(member(name, b"x")))
    assert world.outside == []


def test_absolute_names_begin_at_the_destination(world: World) -> None:
    world.unpack(tar(member("/etc/x", b"1")))

    assert (world.target / "d/etc/x").read_bytes() == b"1"


@pytest.mark.parametrize("target", ["../../outside", "/outside", "../../../../../../outside"])
def test_nothing_is_written_through_a_link(world: World, target: str) -> None:
    """A member below a symlink of the archive ends inside, wherever it leads."""
    world.unpack(tar(member("link", kind=tarfile.SYMTYPE, linkname=target), member("link/x", b"evil")))

    assert world.outside == []
    assert (world.target / "d/outside/x").read_bytes() == b"evil"


@pytest.mark.parametrize(
    ("link", "says"), [("../../outside", "links outside"), ("nothing", "which is not there"), ("/etc/passwd", "which is not there")]
)
def test_hard_links_stay_inside(world: World, link: str, says: str) -> None:
    with pytest.raises(BuildFailed, match=says):
        world.unpack(tar(member("h", kind=tarfile.LNKTYPE, linkname=link)))


def test_a_hard_link_to_a_symlink_links_the_symlink(world: World) -> None:
    """Following it would reach what lies outside."""
    world.unpack(tar(member("s", kind=tarfile.SYMTYPE, linkname="/etc/passwd"), member("h", kind=tarfile.LNKTYPE, linkname="s")))

    assert (world.target / "d/h").is_symlink()


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_devices_are_refused(world: World, kind: bytes) -> None:
    with pytest.raises(BuildFailed, match="device node"):
        world.unpack(tar(member("null", kind=kind, devmajor=1, devminor=3)))


def test_a_broken_archive_names_the_member(world: World) -> None:
    with pytest.raises(BuildFailed, match="failed to unpack f"):
        world.unpack(tar(member("f", b"x" * 5000))[:2000])
