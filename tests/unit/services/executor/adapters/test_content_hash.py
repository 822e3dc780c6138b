"""Content hashes are remembered across calls and restarts, and never make a wrong answer out of a broken cache file."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.executor.adapters.content_hash import ContentHashes, hash_of_scratch
from services.executor.adapters.content_hash_store import dump_tree, load_tree
from services.executor.adapters.content_hash_tree import Tree, received_tree, scanned_tree
from services.executor.core.selection import Selection
from shared.errors import NotFound


class _Counted:
    """A mount that counts its uses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0

    @contextlib.contextmanager
    def __call__(self) -> Iterator[str]:
        self.count += 1
        yield str(self.path)


@pytest.fixture
def mount(tmp_path: Path) -> _Counted:
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "d" / "f").write_text("x")
    (root / "l").symlink_to("d/f")
    return _Counted(root)


def test_the_second_time_nothing_is_mounted(tmp_path: Path, mount: _Counted) -> None:
    """Not in the same process, and not after a restart."""
    first = ContentHashes(tmp_path / "state")
    digest = first.hash("id1", mount, [Selection(path="/d"), Selection(path="/l", follow_links=True)])

    assert digest == first.hash("id1", mount, [Selection(path="/d"), Selection(path="/l", follow_links=True)])
    first.save()
    again = ContentHashes(tmp_path / "state")
    assert digest == again.hash("id1", mount, [Selection(path="/d"), Selection(path="/l", follow_links=True)])
    assert mount.count == 1


def test_broken_state_is_computed_again(tmp_path: Path, mount: _Counted) -> None:
    """Garbage in the state directory costs time only."""
    hashes = ContentHashes(tmp_path / "state")
    digest = hashes.hash("id1", mount, [])
    hashes.save()
    assert (tmp_path / "state" / "id1").stat().st_size > 0
    (tmp_path / "state" / "id1").write_bytes(b"\x92\x01\xff")

    assert digest == ContentHashes(tmp_path / "state").hash("id1", mount, [])


def test_not_found_names_snapshot_and_path(tmp_path: Path, mount: _Counted) -> None:
    """The text that users know from a failing COPY."""
    with pytest.raises(NotFound, match=r'^failed to calculate checksum of ref id1: "/nope": not found$'):
        ContentHashes(tmp_path / "state").hash("id1", mount, [Selection(path="/nope")])


def test_ids_are_checked(tmp_path: Path, mount: _Counted) -> None:
    """An id that is a path never reaches the disk."""
    with pytest.raises(ValueError, match="invalid snapshot id"):
        ContentHashes(tmp_path / "state").hash("../x", mount, [])


def test_few_trees_stay_in_memory(tmp_path: Path, mount: _Counted) -> None:
    """The oldest are dropped from memory, not from disk."""
    hashes = ContentHashes(tmp_path / "state", keep=2)
    for i in range(5):
        hashes.hash(f"id{i}", mount, [])

    assert hashes.statistics() == {"trees": 2}
    hashes.hash("id0", mount, [])
    assert mount.count == 5


def test_forget(tmp_path: Path, mount: _Counted) -> None:
    """A forgotten snapshot is read anew."""
    hashes = ContentHashes(tmp_path / "state")
    before = hashes.hash("id1", mount, [])
    (mount.path / "new").write_text("y")
    assert before == hashes.hash("id1", mount, [])
    hashes.forget("id1")

    assert before != hashes.hash("id1", mount, [])


def test_adopt_and_take(tmp_path: Path, mount: _Counted) -> None:
    """A tree made elsewhere is used, and can be had back once; the root of a received one has no metadata."""
    hashes = ContentHashes(tmp_path / "state")
    scanned = hashes.hash("id0", mount, [])
    hashes.adopt("id1", received_tree(lambda: str(mount.path)))

    assert scanned != hashes.hash("id1", mount, [])
    assert hashes.take("id1") is not None and hashes.take("id1") is None
    assert scanned == hashes.hash("id1", mount, [])


def test_changes_are_seen_and_nothing_else_is_read(tmp_path: Path, mount: _Counted) -> None:
    """After notices of what changed the digest is that of the new state; a file nobody mentioned keeps its digest."""
    hashes = ContentHashes(tmp_path / "state")
    hashes.adopt("id1", received_tree(lambda: ""))
    hashes.hash("id1", mount, [])
    (mount.path / "d" / "f").write_text("new")
    (mount.path / "d" / "g").mkdir()
    (mount.path / "d" / "g" / "h").write_text("h")
    (mount.path / "l").unlink()
    tree = hashes.take("id1")
    assert tree is not None
    tree.root = lambda: str(mount.path)
    for path in ("/d/f", "/d/g", "/d/g/h"):
        tree.mark_changed(path)
    tree.mark_removed("/l")
    tree.mark_removed("/never/known")
    hashes.adopt("id1", tree)
    hashes.adopt("id2", received_tree(lambda: ""))

    assert hashes.hash("id2", mount, []) == hashes.hash("id1", mount, [])


def test_what_is_forgotten_while_it_is_written_stays_forgotten(tmp_path: Path, mount: _Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that speaks of the old content would be believed after a restart."""
    hashes = ContentHashes(tmp_path / "state")
    before = hashes.hash("id1", mount, [])

    def dump(tree: Tree) -> bytes:
        hashes.forget("id1")
        return dump_tree(tree)

    monkeypatch.setattr("services.executor.adapters.content_hash.dump_tree", dump)
    hashes.save()
    (mount.path / "new").write_text("y")

    assert before != ContentHashes(tmp_path / "state").hash("id1", mount, [])


def test_a_tree_taken_over_is_kept_for_a_restart_even_when_nothing_changed(tmp_path: Path, mount: _Counted) -> None:
    hashes = ContentHashes(tmp_path / "state")
    digest = hashes.hash("id1", mount, [])
    tree = hashes.take("id1")
    assert tree is not None
    hashes.adopt("id1", tree)
    hashes.save()

    assert digest == ContentHashes(tmp_path / "state").hash("id1", mount, [])
    assert mount.count == 1


def test_alias(tmp_path: Path, mount: _Counted) -> None:
    """A frozen view shares what is known of the directory; forgetting the view leaves that alone; only the newest view counts."""
    hashes = ContentHashes(tmp_path / "state")
    hashes.alias("view1", "id1")
    digest = hashes.hash("view1", mount, [])
    hashes.alias("view2", "id1")
    hashes.forget("view2")

    assert digest == hashes.hash("id1", mount, [])
    assert mount.count == 1


def test_dump_keeps_everything(mount: _Counted) -> None:
    """Loading what was dumped gives the same bytes again; other bytes are refused."""
    tree = scanned_tree(lambda: str(mount.path))
    tree.digest("", tree.node)
    data = dump_tree(tree)

    assert sorted(data) == sorted(dump_tree(load_tree(data, lambda: "")))
    for bad in (b"", b"\xc0", b"\x92\x02\x90", data[:-1], b"\x92\x01\x91\xc0"):
        with pytest.raises(ValueError, match="not a checksum tree"):
            load_tree(bad, lambda: "")


def test_scratch() -> None:
    """Scratch has a digest; nothing is in it."""
    assert hash_of_scratch([]) == hash_of_scratch([Selection(path="/")])
    with pytest.raises(NotFound, match="/a: no such file"):
        hash_of_scratch([Selection(path="a")])
