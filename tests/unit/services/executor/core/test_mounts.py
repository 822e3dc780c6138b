"""The mount plan of an ExecOp."""

import pytest

from services.executor.core.mounts import CacheDir, Child, Output, SecretFile, SshSocket, Tmpfs, Whole, plan_mounts
from shared.errors import InvalidInput
from shared.llb import CacheOpt, FileSecret, Mount, MountType, Sharing

ROOT = Mount(input=0, dest="/", output=0)
SECRET = FileSecret(id="s")


def test_plain_root() -> None:
    plan = plan_mounts((ROOT,), "/", (True,))

    assert plan.root.tree == Child(input=0, kept=True)
    assert plan.outputs == (Output(mount=0),)


def test_scratch_inputs_count_as_empty() -> None:
    assert plan_mounts((ROOT,), "/", (False,)).root.tree == Child(input=None, kept=True)


def test_read_only_root_gets_a_child_that_is_thrown_away() -> None:
    plan = plan_mounts((Mount(input=0, dest="/", output=-1, readonly=True),), "/", (True,))

    assert plan.readonly_root and plan.root.tree == Child(input=0, kept=False) and plan.outputs == ()


def test_outputs_are_counted_without_secrets_and_agents() -> None:
    plan = plan_mounts(
        (
            ROOT,
            Mount(dest="/s", type=MountType.SECRET, secret=SECRET),
            Mount(input=1, dest="/ro", output=1, readonly=True),
            Mount(dest="/agent", type=MountType.SSH, ssh=SECRET),
            Mount(input=1, dest="/rw", output=2),
            Mount(input=1, dest="/gone", output=-1),
            Mount(input=1, dest="/look", output=-1, readonly=True),
            Mount(dest="/t", type=MountType.TMPFS, tmpfs_size=5),
        ),
        "/",
        (True, True),
    )

    assert plan.outputs == (Output(mount=0), Output(mount=2, input=1), Output(mount=4))
    assert {p.dest: p.tree for p in plan.mounts} == {
        "/s": SecretFile(secret=SECRET),
        "/ro": Whole(input=1),
        "/agent": SshSocket(ssh=SECRET),
        "/rw": Child(input=1, kept=True),
        "/gone": Child(input=1, kept=False),
        "/look": Whole(input=1),
        "/t": Tmpfs(size=5),
    }


def test_cache_mounts() -> None:
    cache = CacheOpt(id="c", sharing=Sharing.LOCKED)
    plan = plan_mounts(
        (
            ROOT,
            Mount(dest="/c", type=MountType.CACHE, cache=cache, output=-1),
            Mount(input=1, dest="/d", type=MountType.CACHE, cache=cache, output=1),
        ),
        "/",
        (True, True),
    )

    assert plan.mounts[0].tree == CacheDir(id="c", sharing=Sharing.LOCKED, input=None)
    assert plan.outputs == (Output(mount=0), Output(mount=2, input=1))


def test_parents_come_first_and_relative_destinations_start_at_the_directory() -> None:
    plan = plan_mounts((ROOT, *(Mount(dest=d, type=MountType.TMPFS) for d in ("b/c", "/w/b", "../x", "/../../a"))), "/w", (True,))

    assert [p.dest for p in plan.mounts] == ["/a", "/w/b", "/w/b/c", "/x"]


@pytest.mark.parametrize("selector", ["../..", "/../etc", "a/../../.."])
def test_selectors_are_clean(selector: str) -> None:
    plan = plan_mounts((ROOT, Mount(input=0, dest="/m", selector=selector, output=-1, readonly=True)), "/", (True,))

    assert ".." not in plan.mounts[0].selector


@pytest.mark.parametrize(
    "mounts",
    [
        (),
        (Mount(input=3, dest="/", output=0),),
        (Mount(input=-2, dest="/", output=0),),
        (Mount(dest="/", type=MountType.TMPFS),),
        (ROOT, Mount(dest="/c", type=MountType.CACHE)),
        (ROOT, Mount(dest="/s", type=MountType.SECRET)),
        (ROOT, Mount(dest="/s", type=MountType.SECRET, secret=FileSecret(id=""))),
        (ROOT, Mount(dest="//", type=MountType.TMPFS)),
        (ROOT, Mount(dest="/x/..", type=MountType.TMPFS)),
    ],
)
def test_what_does_not_hold_together(mounts: tuple[Mount, ...]) -> None:
    with pytest.raises(InvalidInput):
        plan_mounts(mounts, "/", (True,))
