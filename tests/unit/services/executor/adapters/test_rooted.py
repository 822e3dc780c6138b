"""Paths inside a root: whatever symlinks and dots say, nothing outside is ever reached."""

import errno
import os
from pathlib import Path

import pytest

from services.executor.adapters.rooted import Rooted, go_error
from shared.errors import BuildFailed


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`/d/f`, and beside the root a file `secret` that has the same path as one inside."""
    made = tmp_path / "root"
    (made / "d").mkdir(parents=True)
    (made / "d/f").write_text("inside")
    (made / "secret").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    return made


def place(root: Path, path: str, *, follow: bool = True) -> tuple[str, bool]:
    """Where a path leads, as text, and whether it is there."""
    with Rooted(str(root)) as rooted, rooted.find(path, follow=follow) as spot:
        return spot.path, spot.info is not None


@pytest.mark.parametrize("path", ["d/f", "/d/f", "./d//f", "d/../d/f", "../../d/f", "/../d/./f", "/d/f/"])
def test_the_ways_to_a_file(root: Path, path: str) -> None:
    assert place(root, path) == ("d/f", True)


@pytest.mark.parametrize("path", ["", "/", ".", "..", "../..", "d/..", "/d/../.."])
def test_the_ways_to_the_root(root: Path, path: str) -> None:
    with Rooted(str(root)) as rooted, rooted.find(path) as spot:
        assert (spot.name, spot.path, spot.is_dir) == (".", "", True)


@pytest.mark.parametrize(
    "target", ["/secret", "../secret", "../../secret", "/../secret", "d/../../secret", "/d/../../../secret", "{outside}/secret"]
)
def test_links_end_inside(root: Path, tmp_path: Path, target: str) -> None:
    """An absolute target begins at the root; `..` at the root stays there."""
    (root / "link").symlink_to(target.format(outside=tmp_path))
    with Rooted(str(root)) as rooted:
        if "{" in target:
            with pytest.raises(FileNotFoundError):
                rooted.read("link", 100)
        else:
            assert rooted.read("link", 100) == b"inside"


def test_links_in_the_middle_and_to_links(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("/d")

    assert place(root, "a/f") == ("d/f", True)
    assert place(root, "a/../secret") == ("secret", True)  # `..` of what the link leads to


def test_the_last_link_is_followed_only_when_asked(root: Path) -> None:
    (root / "link").symlink_to("d")
    with Rooted(str(root)) as rooted, rooted.find("link", follow=False) as spot:
        assert (spot.path, spot.is_link) == ("link", True)

    assert place(root, "link") == ("d", True)


@pytest.mark.parametrize("target", ["link", "./link", "/x/../link"])
def test_links_in_circles(root: Path, target: str) -> None:
    (root / "x").mkdir()
    (root / "link").symlink_to(target)
    with pytest.raises(OSError, match="link") as error:
        place(root, "link")

    assert error.value.errno == errno.ELOOP


def test_what_is_missing_is_told_from_the_first_name_on(root: Path) -> None:
    with Rooted(str(root)) as rooted, rooted.find("d/new/deep/../file") as spot:
        assert (spot.path, spot.name, spot.missing, spot.info) == ("d/new/file", "new", ("new", "file"), None)


def test_the_parent_of_what_is_missing_does_not_exist(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        place(root, "new/../../d")


def test_a_dangling_link_leads_to_a_place_inside(root: Path) -> None:
    (root / "link").symlink_to("/../../new/file")

    assert place(root, "link") == ("new/file", False)


def test_a_file_is_no_directory(root: Path) -> None:
    with pytest.raises(NotADirectoryError, match="d/f"):
        place(root, "d/f/x")


def test_a_directory_that_becomes_a_link_is_not_walked_through(root: Path, tmp_path: Path) -> None:
    """Directories are held open: replacing one on the way changes nothing for who is past it."""
    with Rooted(str(root)) as rooted, rooted.find("d/f") as spot:
        (root / "d").rename(root / "old")
        (root / "d").symlink_to(tmp_path)
        fd = spot.open(os.O_RDONLY)
        assert os.read(fd, 100) == b"inside"
        os.close(fd)


def test_reading_is_bounded_and_of_regular_files(root: Path) -> None:
    with Rooted(str(root)) as rooted:
        assert rooted.read("d/f", 6) == b"inside"
        with pytest.raises(BuildFailed, match='"d/f" exceeds 5 bytes'):
            rooted.read("d/f", 5)
        with pytest.raises(BuildFailed, match="not a regular file"):
            rooted.read("d", 5)
        with pytest.raises(FileNotFoundError):
            rooted.read("nothing", 5)


@pytest.mark.root
def test_directories_are_made_with_mode_owner_and_time(root: Path) -> None:
    with Rooted(str(root)) as rooted:
        assert rooted.make_dirs("d/a/b", 0o2751, owner=(7, 8), time_ns=10**18) == ["d/a", "d/a/b"]
        assert rooted.make_dirs("d/a/b", 0o700) == []
        with pytest.raises(NotADirectoryError):
            rooted.make_dirs("d/f", 0o700)
    for name in ("a", "a/b"):
        info = (root / "d" / name).stat()
        assert (info.st_mode & 0o7777, info.st_uid, info.st_gid, info.st_mtime_ns) == (0o2751, 7, 8, 10**18)


def test_directories_are_made_where_links_lead(root: Path, tmp_path: Path) -> None:
    (root / "link").symlink_to("/../../deep")
    if os.geteuid() == 0:
        with Rooted(str(root)) as rooted:
            rooted.make_dirs("link/x", 0o755)
        assert (root / "deep/x").is_dir() and not (tmp_path / "deep").exists()


def test_errors_read_as_go_s() -> None:
    error = go_error("lstat", "/x", OSError(errno.ENOENT, "No such file or directory"))

    assert (error.message, error.reason) == ("lstat /x: no such file or directory", "ENOENT")


@pytest.mark.parametrize("becomes", ["pipe", "link", "folder"])
def test_a_file_that_turns_into_something_else_before_it_is_opened(root: Path, becomes: str) -> None:
    """As a container that runs can do it: opening a pipe would never end."""
    with Rooted(str(root)) as rooted, rooted.find("d/f") as spot:
        file = root / "d/f"
        file.unlink()
        match becomes:
            case "pipe":
                os.mkfifo(file)
            case "link":
                file.symlink_to("../../secret")
            case "folder":
                file.mkdir()

        with pytest.raises(BuildFailed, match="d/f is not a regular file"):
            spot.open_file()
