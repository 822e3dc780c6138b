"""FileOps on real snapshots: chains of actions, several outputs, owners by name (reference 03 §4)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import LEFT, BuildFailed, InvalidInput, read_left
from shared.llb import EMPTY, SKIP, Action, Chown, Copy, FileAction, FileOp, MkDir, MkFile, Rm
from shared.llb.ops import Owner
from tests.kit.steps import Steps

pytestmark = pytest.mark.root


@pytest.fixture(params=["overlayfs", "native"])
def steps(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Steps]:
    steps = Steps(tmp_path / "x", style=request.param)
    yield steps
    steps.store.release("build")
    counters = steps.store.statistics()
    steps.close()
    assert (counters["claimed"], counters["mounts"]) == (0, 0)


def op(*actions: tuple[int, int, int, Action]) -> FileOp:
    """Each as (input, secondary input, output, action)."""
    return FileOp(actions=tuple(FileAction(input=a, secondary_input=b, output=c, action=d) for a, b, c, d in actions))


async def test_a_chain_makes_one_snapshot(steps: Steps) -> None:
    (out,) = await steps.run(
        op(
            (EMPTY, EMPTY, SKIP, MkDir(path="/a")),
            (0, EMPTY, SKIP, MkFile(path="/a/f", data=b"1")),
            (1, EMPTY, 0, Rm(path="/a/g", allow_not_found=True)),
        )
    )

    assert steps.read(out, "a/f") == "1"
    assert len(steps.store.layers(out or "")) == 1


async def test_outputs_that_build_on_each_other_are_separate(steps: Steps) -> None:
    first, second = await steps.run(op((EMPTY, EMPTY, 0, MkFile(path="/f", data=b"1")), (0, EMPTY, 1, MkFile(path="/g", data=b"2"))))

    assert steps.names(first) == {"f"} and steps.names(second) == {"f", "g"}


async def test_copy_between_inputs(steps: Steps) -> None:
    (src,) = await steps.run(op((EMPTY, EMPTY, 0, MkFile(path="/f", data=b"x", mode=0o640))))
    (base,) = await steps.run(op((EMPTY, EMPTY, 0, MkDir(path="/d"))))
    (out,) = await steps.run(op((0, 1, 0, Copy(src="/f", dest="/d/"))), base, src)

    assert steps.read(out, "d/f") == "x"
    assert steps.names(base, "d") == set()


async def test_copy_from_an_earlier_action(steps: Steps) -> None:
    (out,) = await steps.run(op((EMPTY, EMPTY, SKIP, MkFile(path="/f", data=b"x")), (EMPTY, 0, 0, Copy(src="/f", dest="/g"))))

    assert steps.names(out) == {"g"}


async def test_owners(steps: Steps) -> None:
    base = steps.busybox()
    bob = Owner(name="bob", input=0)
    for owner, expected in (
        (Chown(user=bob), (7, 8)),
        (Chown(user=bob, group=Owner(name="staff", input=0)), (7, 50)),
        (Chown(user=Owner(id=5)), (5, 5)),
        (Chown(user=Owner(id=5), group=Owner(id=6)), (5, 6)),
        (Chown(user=Owner(name="nobody-knows", input=0)), (0, 0)),
        (Chown(group=Owner(id=9)), (0, 9)),
    ):
        (out,) = await steps.run(op((0, EMPTY, 0, MkFile(path="/f", data=b"", owner=owner))), base)
        with steps.store.mount(out or "") as path:
            info = os.stat(f"{path}/f")
        assert (info.st_uid, info.st_gid) == expected
    with pytest.raises(BuildFailed, match="invalid missing user mount"):
        await steps.run(op((EMPTY, EMPTY, 0, MkFile(path="/f", owner=Chown(user=bob)))), None)


async def test_failure_names_the_action(steps: Steps) -> None:
    with pytest.raises(BuildFailed, match="no such file or directory") as caught:
        await steps.run(op((EMPTY, EMPTY, SKIP, MkDir(path="/a")), (0, EMPTY, 0, MkDir(path="/b/c"))))

    detail = caught.value.detail(LEFT)
    left = read_left(detail) if detail is not None else None
    assert left is not None and left.subject == {"file": {"index": 1}}
    trees = [ref.id for ref in left.mounts if ref is not None]
    assert len(trees) == 2 and steps.names(trees[1]) == {"a"}
    steps.store.release("build")
    steps.store.remove(trees)
    assert steps.store.statistics()["snapshots"] == 0


@pytest.mark.parametrize(
    "bad",
    [
        op((5, EMPTY, 0, MkDir(path="/a"))),
        op((-2, EMPTY, 0, MkDir(path="/a"))),
        op((EMPTY, 9, 0, Copy(src="/", dest="/"))),
        op((0, EMPTY, 0, MkDir(path="/a"))),  # itself
        op((1, EMPTY, 0, MkDir(path="/a")), (0, EMPTY, 1, MkDir(path="/b"))),
        op((EMPTY, EMPTY, SKIP, MkDir(path="/a"))),
        op((EMPTY, EMPTY, 1, MkDir(path="/a"))),
        op((EMPTY, EMPTY, 0, MkDir(path="/a")), (EMPTY, EMPTY, 0, MkDir(path="/b"))),
    ],
)
async def test_hostile_indexes(steps: Steps, bad: FileOp) -> None:
    with pytest.raises(InvalidInput):
        await steps.run(bad)
