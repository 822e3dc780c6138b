"""Random trees through pack and unpack: what comes out is what went in, layer on layer."""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.executor.adapters.layer_changes import Change, ChangeKind, overlay_changes, tree_changes
from services.executor.adapters.layer_tar import layer_tar
from services.executor.adapters.layer_unpack import Whiteouts, put_on, unpack_apart, unpack_layer

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.getuid() != 0, reason="needs root")]
_NAMES = ("a", "b", "a-b", "a.txt", "é", "n" * 120)


def _grow(root: Path, rng: random.Random) -> None:
    """A few random changes to a full tree."""
    for _ in range(12):
        paths = list(root.rglob("*"))
        directories = [root, *(p for p in paths if p.is_dir() and not p.is_symlink())]
        new = rng.choice(directories) / rng.choice(_NAMES)
        match rng.randrange(6):
            case 0 if paths:
                old = rng.choice(paths)
                shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
            case 1 if not os.path.lexists(new):
                new.mkdir()
            case 2 if not os.path.lexists(new):
                new.symlink_to(rng.choice(["a", "/b", "../x"]))
            case 3 if paths:
                os.chown(rng.choice(paths), rng.randrange(5), rng.randrange(5), follow_symlinks=False)
            case _ if not os.path.isdir(new) and not new.is_symlink():
                new.write_bytes(rng.randbytes(rng.choice([0, 3, 2000])))
                os.utime(new, (1, rng.randrange(1000)))


def _tar(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[bytes]:
    def parent(path: str) -> Change:
        return Change(ChangeKind.MODIFY, path, os.lstat(f"{after[0]}/{path}"), f"{after[0]}/{path}")

    return (bytes(piece) for piece in layer_tar(tree_changes(before, after), parent))


def _picture(view: tuple[str, ...]) -> bytes:
    """The whole tree as one tar, without directory times (unpacking cannot know those of changed parents)."""
    changes = []
    for change in tree_changes((), view):
        assert change.stat is not None
        changes.append((change.path, change.stat.st_mode, change.stat.st_uid, change.stat.st_gid, _content(change.source)))
    return repr(changes).encode()


def _content(path: str) -> bytes:
    if os.path.islink(path):
        return os.readlink(path).encode()
    return Path(path).read_bytes() if os.path.isfile(path) else b""


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 30))
def test_layers_rebuild_the_tree(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Differences of successive states, unpacked as overlay layers and in place, give the last state; repacking is stable."""
    rng, base = random.Random(seed), tmp_path_factory.mktemp("layers")
    before: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    flat = base / "flat"
    flat.mkdir()
    for i in range(3):
        state = base / f"state{i}"
        if before:
            shutil.copytree(before[0], state, symlinks=True)
            for p in Path(before[0]).rglob("*"):
                os.chown(state / p.relative_to(before[0]), p.lstat().st_uid, p.lstat().st_gid, follow_symlinks=False)
        else:
            state.mkdir()
        _grow(state, rng)
        layer = base / f"layer{i}"
        layer.mkdir()
        tar = list(_tar(before, (str(state),)))
        unpack_layer(iter(tar), str(layer), whiteouts=Whiteouts.OVERLAY, lowers=layers)
        unpack_layer(iter(tar), str(flat), whiteouts=Whiteouts.REMOVE)
        again = overlay_changes(str(layer), layers)
        parent = lambda p: Change(ChangeKind.MODIFY, p, os.lstat(f"{layer}/{p}"), f"{layer}/{p}")  # noqa: B023, E731
        repacked = base / f"again{i}"
        repacked.mkdir()
        unpack_layer((bytes(x) for x in layer_tar(again, parent)), str(repacked), whiteouts=Whiteouts.OVERLAY, lowers=layers)
        assert _picture((str(layer), *layers)) == _picture((str(repacked), *layers))
        if layers:
            alone = base / f"alone{i}"
            alone.mkdir()
            put_on(str(alone), unpack_apart(iter(tar), str(alone)), layers)
            assert _picture((str(layer), *layers)) == _picture((str(alone), *layers))
        before, layers = (str(state),), (str(layer), *layers)

    assert _picture(before) == _picture(layers) == _picture((str(flat),))
    shutil.rmtree(base)
