"""Content hashes equal BuildKit's, bit for bit; the expected digests are those of cache/contenthash/checksum_test.go."""

import hashlib
import os
import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.executor.adapters.content_hash_select import checksum, split_wildcards
from services.executor.adapters.content_hash_tree import Tree, scanned_tree
from services.executor.core.selection import Selection
from shared.errors import InvalidInput, NotFound

DATA0 = "sha256:cd8e75bca50f2d695f220d0cb0997d8ead387e4f926e8669a92d7f104cc9885b"
DATA1 = "sha256:c2b5e234f5f38fc5864da7def04782f82501a40d46192e4207d5b3f0c3c4732b"
D0 = "sha256:d47454417d2c554067fbefe5f5719edc49f3cfe969c36b62e34a187a4da0cc9a"
D0_FILE_BY_FILE = "sha256:6b612ad5c13159112ae26357ef7bd34df29916941ba40ec2ce38dfb70c6c60c3"
D0_MODIFIED = "sha256:555ffa3028630d97ba37832b749eda85ab676fd64ffb629fbf0f4ec8c1e3bff1"

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="the expected digests are of files that root owns")


def make(root: Path, *entries: str) -> Tree:
    """A tree of `path` (a directory when it ends in a slash), `path=data` and `path->link` entries, owned by root."""
    root.mkdir(exist_ok=True)
    root.chmod(0o755)
    for entry in entries:
        if "->" in entry:
            path, _, target = entry.partition("->")
            (root / path).symlink_to(target)
        elif "=" in entry:
            path, _, data = entry.partition("=")
            (root / path).write_text(data)
            (root / path).chmod(0o644)
        else:
            (root / entry).mkdir()
            (root / entry).chmod(0o755)
    return scanned_tree(lambda: str(root))


def test_basic(tmp_path: Path) -> None:
    """Files, links to files, directories, the root; a dangling link is an entry but can't be followed."""
    tree = make(tmp_path / "r", "foo=data0", "bar=data1", "d0/", "d0/abc=data0", "d0/def->abc", "d0/ghi->nosuchfile")

    def follow(path: str) -> str:
        return checksum(tree, Selection(path=path, follow_links=True))

    assert [follow(p) for p in ("foo", "bar", "d0/abc", "d0/def", "d0")] == [DATA0, DATA1, DATA0, DATA0, D0]
    assert follow("/") == "sha256:427c9cf9ae98c0f81fb57a3076b965c7c149b6b0a85625ad4e884236649a42c6"
    for path in ("nosuch", "d0/ghi"):
        with pytest.raises(NotFound, match="not found"):
            follow(path)


def test_the_same_directory_as_root(tmp_path: Path) -> None:
    """A directory has the digest of a root with equal content; a missing dangling link changes it."""
    full = make(tmp_path / "a", "abc=data0", "def->abc", "ghi->nosuchfile")
    less = make(tmp_path / "b", "abc=data0", "def->abc")

    assert checksum(full, Selection(path="/", follow_links=True)) == D0
    assert checksum(less, Selection(path="/", follow_links=True)) == D0_MODIFIED


def test_wildcards(tmp_path: Path) -> None:
    """Wildcard selections hash matched names; links at the top of a match are followed on demand."""
    tree = make(
        tmp_path / "r",
        "bar=data1",
        "foo=data0",
        "fox=data2",
        "x/",
        "x/d0/",
        "x/d0/abc=data0",
        "x/d0/def->abc",
        "x/d0/ghi->nosuchfile",
        "y1->foo",
        "y2->fox",
    )

    def wild(path: str, follow: bool = False) -> str:
        return checksum(tree, Selection(path=path, wildcard=True, follow_links=follow))

    assert "sha256:" + hashlib.sha256(b"\0foo" + DATA0.encode()).hexdigest() == wild("f*o")
    assert wild("f*") == "sha256:0b6731924f0a32a812bf8a729202e55e54ded331f9e4ff2397f681e43694e086"
    assert wild("x/d?") == D0_FILE_BY_FILE
    assert wild("x/d?/def", True) == DATA0
    assert wild("y*", True) == "sha256:982153600b9653a1decb0f961e09e2bc1be335cfcaac9b39dbd1120b65fdf92c"
    assert "sha256:" + hashlib.sha256().hexdigest() == wild("nothing*")


def test_links_not_followed(tmp_path: Path) -> None:
    """A link's own digest, and directories that hold dangling links."""
    tree = make(tmp_path / "r", "target=data0", "sym->target", "sym2->target2", "foo/", "foo/ghi->target", "y1->foo/ghi")
    sym = "sha256:a2ba571981f48ec34eb79c9a3ab091b6491e825c2f7e9914ea86e8e958be7fae"
    foo = "sha256:9b761577efcb1239cf4be971914c5d7404914dd32ff436401af1764dc5446b83"

    assert sym == checksum(tree, Selection(path="sym", wildcard=True))
    assert sym == checksum(tree, Selection(path="foo/ghi"))
    assert sym != checksum(tree, Selection(path="sym2"))
    assert foo == checksum(tree, Selection(path="foo", follow_links=True))
    assert foo == checksum(tree, Selection(path="foo", follow_links=True, exclude_patterns=("*.git",)))
    expected = "sha256:2797e710c6d1a89ff2d91c834b828b1dc500f2982430a58241df8e146f4c4bb4"
    assert expected == checksum(tree, Selection(path="fo?", wildcard=True, follow_links=True))
    for path in ("foo/ghi", "y1"):
        with pytest.raises(NotFound):
            checksum(tree, Selection(path=path, wildcard=True, follow_links=True))


def test_non_lexical_links(tmp_path: Path) -> None:
    """Links relative to links, absolute links (to the tree's root), `..` after links."""
    tree = make(
        tmp_path / "r",
        "target/",
        "target/file=data0",
        "link1/",
        "link1/target_file->../target/file",
        "link1/target_file_abs->/target/file",
        "link1/target_dir->../target",
        "link1/target_dir_abs->/target",
        "link2/",
        "link2/link1_rel->../link1",
        "link2/link1_abs->/link1",
        "link3/",
        "link3/target->../link2/link1_rel/target_dir",
        "link3/target_file->../link2/link1_rel/target_file",
        "out->../../../../../etc",
    )
    paths = (
        "target/file",
        "link1/target_file",
        "link1/target_dir/file",
        "link2/link1_rel/target_file_abs",
        "link2/link1_abs/target_dir_abs/file",
        "link3/target_file",
        "link3/target/file",
    )

    assert {DATA0} == {checksum(tree, Selection(path=p, follow_links=True)) for p in paths}
    with pytest.raises(NotFound):
        checksum(tree, Selection(path="out/passwd", follow_links=True))


def test_include_and_exclude(tmp_path: Path) -> None:
    """Patterns select by name; excluded files do not count, and what holds only them counts neither; required paths must be there."""
    tree = make(tmp_path / "r", "foo=data0", "bar=data1", "d0/", "d0/abc=abc", "d1/", "d1/def=def")

    def pick(*include: str, exclude: tuple[str, ...] = (), wildcard: bool = False, path: str = "/", required: tuple[str, ...] = ()) -> str:
        selection = Selection(path=path, include_patterns=include, exclude_patterns=exclude, wildcard=wildcard, required_paths=required)
        return checksum(tree, selection)

    digests = [pick("foo"), pick("foo", "bar"), pick("d0"), pick("d1"), pick("d*"), pick("none")]
    assert len(set(digests)) == len(digests)
    assert pick("d0/*") == pick("d0/a*") == pick("d0", "!d0/zz")
    assert pick("foo") == pick(exclude=("d0", "d1", "bar"))
    assert pick("foo") == pick("foo", wildcard=True)
    assert pick("foo", required=("/foo",))
    with pytest.raises(NotFound, match='"/zz": not found'):
        pick("foo", required=("/zz",))
    with pytest.raises(InvalidInput):
        pick("[")


def test_many_links_end_in_an_error(tmp_path: Path) -> None:
    """A loop of links is refused, not followed for ever."""
    tree = make(tmp_path / "r", "a->b", "b->a")

    with pytest.raises(InvalidInput, match="too many links"):
        checksum(tree, Selection(path="a/x"))


def test_deep_tree(tmp_path: Path) -> None:
    """Depth beyond Python's recursion limit is fine."""
    root, fd = tmp_path / "r", -1
    root.mkdir()
    fd = os.open(root, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)

    try:
        assert checksum(scanned_tree(lambda: str(root)), Selection(path="/")).startswith("sha256:")
    finally:
        subprocess.run(["rm", "-rf", str(root)], check=True, timeout=60)  # deeper than pytest's own cleaning can go


_ENTRIES = st.dictionaries(st.text("ab-.é", min_size=1, max_size=3).filter(lambda n: n.strip(".")), st.binary(max_size=40), max_size=6)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(top=_ENTRIES, sub=_ENTRIES, seed=st.integers())
def test_neither_time_nor_order_counts(
    tmp_path_factory: pytest.TempPathFactory, top: dict[str, bytes], sub: dict[str, bytes], seed: int
) -> None:
    """Equal trees, written in any order at any time, have equal digests, whichever part is asked for first."""
    trees = [_write(tmp_path_factory.mktemp("t"), top, sub, random.Random(seed + i)) for i in range(2)]
    checksum(trees[0], Selection(path="sub"))

    assert checksum(trees[0], Selection()) == checksum(trees[1], Selection())
    assert checksum(trees[0], Selection(path="*", wildcard=True)) == checksum(trees[1], Selection(path="*", wildcard=True))


def _write(root: Path, top: dict[str, bytes], sub: dict[str, bytes], rng: random.Random) -> Tree:
    (root / "sub").mkdir()
    root.chmod(0o755)
    files = [(root / n, d) for n, d in top.items()] + [(root / "sub" / n, d) for n, d in sub.items()]
    rng.shuffle(files)
    for path, data in files:
        path.write_bytes(data)
        os.utime(path, ns=(rng.randrange(10**18), rng.randrange(10**18)))
    return scanned_tree(lambda: str(root))


@pytest.mark.parametrize(
    ("path", "parts"), [("/a/b*/c", ("/a", "b*/c")), ("/*", ("", "*")), ("/a", ("/a", "")), ("/a\\*/b?", ("/a\\*", "b?"))]
)
def test_split_wildcards(path: str, parts: tuple[str, str]) -> None:
    """The fixed part ends before the first component with an unescaped wildcard."""
    assert parts == split_wildcards(path)
