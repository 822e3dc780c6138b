"""File actions on real directories; hostile paths stay inside."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import tarfile
from pathlib import Path

import pytest
import zstandard

from services.executor.adapters.file_system import act
from shared.errors import BuildFailed, BuildmeshError, InvalidInput
from shared.llb import Copy, MkDir, MkFile, Rm, Symlink

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="owners need root")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.mkdir()
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    return path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory next to the roots, which nothing may touch."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "secret").write_text("secret")
    return path


def do(action: object, target: Path, source: Path | None = None, owner: tuple[int, int] | None = None) -> None:
    act(action, str(target), str(source) if source else None, owner)  # type: ignore[arg-type]


def files(path: Path) -> set[str]:
    return {str(p.relative_to(path)) for p in path.rglob("*")}


class TestMkdir:
    def test_with_parents_and_times(self, target: Path) -> None:
        do(MkDir(path="/a/b/c", mode=0o700, make_parents=True, timestamp=10**9), target, owner=(os.geteuid(), os.getegid()))

        assert stat.S_IMODE((target / "a/b").stat().st_mode) == 0o700
        assert (target / "a/b").stat().st_mtime_ns == 10**9

    def test_existing_path_is_fine_even_a_file(self, target: Path) -> None:
        (target / "f").write_text("x")
        do(MkDir(path="/f"), target)

        with pytest.raises(BuildFailed, match="mkdir /f: not a directory"):
            do(MkDir(path="/f", make_parents=True), target)

    def test_missing_parent_is_an_error(self, target: Path) -> None:
        with pytest.raises(BuildFailed, match="no such file or directory"):
            do(MkDir(path="/a/b"), target)

    def test_stays_inside_through_symlinks_and_dots(self, target: Path, outside: Path) -> None:
        (target / "out").symlink_to(outside)
        (target / "up").symlink_to("../../..")
        do(MkDir(path="/out/x", make_parents=True), target)
        do(MkDir(path="/up/../../y", make_parents=True), target)

        assert files(outside) == {"secret"}
        assert (target / "y").is_dir()
        assert (target / str(outside).lstrip("/") / "x").is_dir()


class TestMkfile:
    def test_content_mode_and_overwriting(self, target: Path) -> None:
        do(MkFile(path="/f", mode=0o640, data=b"1"), target)
        do(MkFile(path="/f", mode=0o600, data=b"2"), target)

        assert (target / "f").read_bytes() == b"2"
        assert stat.S_IMODE((target / "f").stat().st_mode) == 0o640  # an existing file keeps its mode

    def test_symlink_target_inside_is_written(self, target: Path, outside: Path) -> None:
        (target / "l").symlink_to(outside / "secret")
        with pytest.raises(BuildFailed):
            do(MkFile(path="/l", data=b"evil"), target)
        assert (outside / "secret").read_text() == "secret"

    def test_symlink_loop(self, target: Path) -> None:
        (target / "l").symlink_to("l")
        with pytest.raises(BuildFailed, match="too many levels"):
            do(MkFile(path="/l/f", data=b""), target)


class TestSymlinkAndRm:
    def test_symlink_must_not_exist(self, target: Path) -> None:
        do(Symlink(oldpath="/anything", newpath="/l"), target)
        assert os.readlink(target / "l") == "/anything"
        do(MkFile(path="/f"), target)
        with pytest.raises(BuildFailed, match="file exists"):
            do(Symlink(oldpath="x", newpath="/f"), target)

    def test_rm_takes_the_link_and_not_what_it_points_to(self, target: Path, outside: Path) -> None:
        (target / "l").symlink_to(outside)
        do(Rm(path="/l"), target)

        assert files(target) == set() and files(outside) == {"secret"}

    def test_rm_missing(self, target: Path) -> None:
        do(Rm(path="/no", allow_not_found=True), target)
        do(Rm(path="/no*", allow_wildcard=True), target)
        with pytest.raises(BuildFailed, match="no such file"):
            do(Rm(path="/no"), target)

    @pytest.mark.parametrize("path", ["/", "", "..", "/a/.."])
    def test_rm_of_the_root_is_refused(self, target: Path, path: str) -> None:
        (target / "a").mkdir()
        with pytest.raises(BuildmeshError):
            do(Rm(path=path), target)
        assert (target / "a").exists()

    def test_rm_wildcard(self, target: Path) -> None:
        for name in ("a1", "a2", "b1"):
            (target / name).mkdir()
        do(Rm(path="/a*", allow_wildcard=True), target)

        assert files(target) == {"b1"}


class TestCopy:
    def test_file_to_new_name_and_into_directory(self, target: Path, source: Path) -> None:
        (source / "f").write_text("x")
        (target / "d").mkdir()
        do(Copy(src="/f", dest="/g"), target, source)
        do(Copy(src="/f", dest="/d"), target, source)
        do(Copy(src="/f", dest="/new/", create_dest_path=True), target, source)

        assert files(target) == {"g", "d", "d/f", "new", "new/f"}

    def test_missing_source_says_so_like_go(self, target: Path, source: Path) -> None:
        with pytest.raises(BuildFailed, match="lstat /nope: no such file or directory"):
            do(Copy(src="/nope", dest="/"), target, source)

    def test_missing_parent_without_create(self, target: Path, source: Path) -> None:
        (source / "f").write_text("x")
        with pytest.raises(BuildFailed, match="no such file or directory"):
            do(Copy(src="/f", dest="/a/b/c"), target, source)

    def test_directory_or_its_contents(self, target: Path, source: Path) -> None:
        (source / "d").mkdir()
        (source / "d/f").write_text("x")
        (target / "one").mkdir()
        (target / "two").mkdir()
        do(Copy(src="/d", dest="/one"), target, source)
        do(Copy(src="/d", dest="/two", dir_copy_contents=True), target, source)
        do(Copy(src="/d", dest="/three"), target, source)

        assert files(target) == {"one", "one/d", "one/d/f", "two", "two/f", "three", "three/f"}

    def test_modes_times_and_hard_links_survive(self, target: Path, source: Path) -> None:
        (source / "d").mkdir(mode=0o750)
        (source / "d/f").write_text("x")
        os.chmod(source / "d/f", 0o4711)
        os.link(source / "d/f", source / "d/g")
        os.utime(source / "d/f", ns=(5, 7))
        (source / "d/l").symlink_to("f")
        os.utime(source / "d", ns=(5, 9))
        do(Copy(src="/d", dest="/d"), target, source)

        copied = (target / "d/f").stat()
        assert (stat.S_IMODE(copied.st_mode), copied.st_mtime_ns, copied.st_nlink) == (0o4711, 7, 2)
        assert (target / "d").stat().st_mtime_ns == 9
        assert os.readlink(target / "d/l") == "f"

    @root_only
    def test_owner_mode_and_time_override(self, target: Path, source: Path) -> None:
        (source / "d").mkdir()
        (source / "d/f").write_text("x")
        do(Copy(src="/d", dest="/a/b", create_dest_path=True, mode=0o701, timestamp=3 * 10**9), target, source, owner=(12, 34))

        for name in ("a", "a/b", "a/b/f"):
            info = (target / name).stat()
            assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode), info.st_mtime_ns) == (12, 34, 0o701, 3 * 10**9), name

    def test_mode_text(self, target: Path, source: Path) -> None:
        (source / "f").write_text("x")
        os.chmod(source / "f", 0o644)
        do(Copy(src="/f", dest="/f", mode_str="u+x,go-r"), target, source)

        assert stat.S_IMODE((target / "f").stat().st_mode) == 0o700
        with pytest.raises(InvalidInput):
            do(Copy(src="/f", dest="/f", mode_str="u+q"), target, source)

    def test_file_and_directory_collide(self, target: Path, source: Path) -> None:
        (source / "s").mkdir()
        (source / "s/x").write_text("file")
        (target / "x").mkdir()
        with pytest.raises(BuildFailed, match="cannot replace to directory x with file"):
            do(Copy(src="/s", dest="/", dir_copy_contents=True), target, source)
        do(Copy(src="/s", dest="/", dir_copy_contents=True, always_replace_existing_dest_paths=True), target, source)
        assert (target / "x").read_text() == "file"
        (source / "y/x").mkdir(parents=True)
        with pytest.raises(BuildFailed, match="cannot copy to non-directory"):
            do(Copy(src="/y", dest="/", dir_copy_contents=True), target, source)

    def test_wildcards(self, target: Path, source: Path) -> None:
        for name in ("a.txt", "b.txt", "c.md", "d/e.txt"):
            (source / name).parent.mkdir(exist_ok=True)
            (source / name).write_text(name)
        do(Copy(src="/*.txt", dest="/", allow_wildcard=True), target, source)
        assert files(target) == {"a.txt", "b.txt"}
        do(Copy(src="/d*/*", dest="/in/", allow_wildcard=True, create_dest_path=True), target, source)
        assert (target / "in/e.txt").exists()
        with pytest.raises(BuildFailed, match=r"/z\* not found"):
            do(Copy(src="/z*", dest="/", allow_wildcard=True), target, source)
        do(Copy(src="/z*", dest="/", allow_wildcard=True, allow_empty_wildcard=True), target, source)

    def test_include_and_exclude(self, target: Path, source: Path) -> None:
        for name in ("a/b/c.go", "a/b/d.md", "a/e/f.go", "g.go"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(name)
        do(Copy(src="/", dest="/", dir_copy_contents=True, include_patterns=("**/*.go",), exclude_patterns=("a/e",)), target, source)

        assert files(target) == {"a", "a/b", "a/b/c.go", "g.go"}  # a/e is not even made

    def test_symlinks_of_the_source_never_lead_out(self, target: Path, source: Path, outside: Path) -> None:
        (source / "l").symlink_to(outside)
        (source / "dots").symlink_to("../outside")
        do(Copy(src="/l", dest="/copied"), target, source)
        assert os.readlink(target / "copied") == str(outside)
        for src in ("/l/secret", "/dots/secret", "/../outside/secret"):
            with pytest.raises(BuildFailed):
                do(Copy(src=src, dest="/got"), target, source)
        with pytest.raises(BuildFailed):
            do(Copy(src="/l", dest="/got", follow_symlink=True), target, source)
        assert "got" not in files(target)

    def test_symlinks_of_the_target_never_lead_out(self, target: Path, source: Path, outside: Path) -> None:
        (source / "secret").write_text("evil")
        (source / "d").mkdir()
        (source / "d/out").mkdir()
        (source / "d/out/secret").write_text("evil")
        (target / "out").symlink_to(outside)
        (target / "up").symlink_to("../outside")
        do(Copy(src="/secret", dest="/out/", create_dest_path=True), target, source)
        do(Copy(src="/secret", dest="/up/secret", create_dest_path=True), target, source)
        with pytest.raises(BuildFailed, match="non-directory"):
            do(Copy(src="/d", dest="/", dir_copy_contents=True), target, source)

        assert (outside / "secret").read_text() == "secret"

    def test_scratch_source(self, target: Path) -> None:
        with pytest.raises(BuildFailed, match="no such file"):
            do(Copy(src="/f", dest="/"), target, None)

    def test_cancel_stops_it(self, target: Path, source: Path) -> None:
        (source / "f").write_text("x")
        with pytest.raises(InterruptedError):
            act(Copy(src="/", dest="/", dir_copy_contents=True), str(target), str(source), None, stopped=lambda: True)

    def test_large_file(self, target: Path, source: Path) -> None:
        data = os.urandom(300_000)
        (source / "f").write_bytes(data)
        do(Copy(src="/f", dest="/f"), target, source)

        assert (target / "f").read_bytes() == data


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, data in members:
            info.size = len(data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mtime, info.mode = kind, link, 5, 0o755 if kind == tarfile.DIRTYPE else 0o640
    info.uid, info.gid = os.geteuid(), os.getegid()
    return info


class TestUnpack:
    @pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress])
    def test_every_compression(self, target: Path, source: Path, pack: object) -> None:
        data = tar_of((member("d", tarfile.DIRTYPE), b""), (member("d/f"), b"x"), (member("d/h", tarfile.LNKTYPE, "d/f"), b""))
        (source / "a").write_bytes(pack(data))  # type: ignore[operator]
        do(Copy(src="/a", dest="/in/", attempt_unpack=True, create_dest_path=True), target, source)

        assert files(target) == {"in", "in/d", "in/d/f", "in/d/h"}
        assert (target / "in/d/f").stat().st_nlink == 2
        assert (target / "in/d").stat().st_mtime == 5

    def test_other_files_are_copied(self, target: Path, source: Path) -> None:
        (source / "a").write_bytes(b"\x1f\x8b\x08 no gzip at all")
        (source / "e").write_bytes(b"")
        for name in "ae":
            do(Copy(src=f"/{name}", dest=f"/{name}", attempt_unpack=True), target, source)

        assert files(target) == {"a", "e"}

    @pytest.mark.parametrize(
        "members",
        [
            [(member("../../outside/new"), b"evil")],
            [(member("l", tarfile.SYMTYPE, "../../outside"), b""), (member("l/new"), b"evil")],
            [(member("h", tarfile.LNKTYPE, "../../outside/secret"), b"")],
            [(member("dev", tarfile.CHRTYPE), b"")],
            [(member("blk", tarfile.BLKTYPE), b"")],
        ],
    )
    def test_hostile_members(self, target: Path, source: Path, outside: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        (source / "a.tar").write_bytes(tar_of(*members))
        with contextlib.suppress(BuildFailed):
            do(Copy(src="/a.tar", dest="/in/", attempt_unpack=True, create_dest_path=True), target, source)
        kinds = {stat.S_IFMT(path.lstat().st_mode) for path in target.rglob("*")}

        assert kinds <= {stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK}
        assert files(outside) == {"secret"}

    def test_absolute_names_and_links_end_inside(self, target: Path, source: Path, outside: Path) -> None:
        link = member("l", tarfile.SYMTYPE, str(outside))
        (source / "a.tar").write_bytes(tar_of((member("/etc/x"), b"1"), (link, b""), (member("l/new"), b"in")))
        do(Copy(src="/a.tar", dest="/in/", attempt_unpack=True, create_dest_path=True), target, source)

        assert (target / "in/etc/x").read_text() == "1"
        assert files(outside) == {"secret"}
