"""Ops that are well-formed but make no sense."""

from dataclasses import replace

import pytest

from shared import llb
from shared.errors import InvalidInput
from shared.model import Digest

D = Digest("sha256:" + "ab" * 32)
META = llb.Meta(args=("x",))
ROOT = llb.Mount(input=0, dest="/", output=0)


def op(kind: llb.Kind | None, inputs: int = 1) -> llb.Op:
    return llb.Op(kind=kind, inputs=tuple(llb.Input(digest=D, index=n) for n in range(inputs)))


def file(*actions: llb.FileAction) -> llb.Op:
    return op(llb.FileOp(actions=actions))


MKDIR = llb.MkDir(path="/x")


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (op(llb.ExecOp(meta=llb.Meta(args=()), mounts=(ROOT,))), "no args"),
        (op(llb.ExecOp(meta=META, mounts=())), "no mounts"),
        (op(llb.ExecOp(meta=META, mounts=(replace(ROOT, dest="/x"),))), "no rootfs"),
        (op(llb.ExecOp(meta=META, mounts=(replace(ROOT, input=1),))), "input index 1 of 1"),
        (op(llb.ExecOp(meta=META, mounts=(replace(ROOT, input=-2),))), "input index -2"),
        (op(llb.ExecOp(meta=META, mounts=(replace(ROOT, output=5),))), "output index 5"),
        (op(llb.ExecOp(meta=META, mounts=(ROOT, llb.Mount(dest="/c", type=llb.MountType.CACHE)))), "without cache options"),
        (op(llb.ExecOp(meta=META, mounts=(ROOT, llb.Mount(dest="")))), "without a destination"),
        (file(), "no actions"),
        (file(llb.FileAction(input=1, output=0, action=MKDIR)), "input index 1 of 1"),
        (file(llb.FileAction(input=0, output=-1, action=MKDIR)), "not numbered"),
        (file(llb.FileAction(input=0, output=3, action=MKDIR)), "output index 3"),
        (
            file(llb.FileAction(input=0, output=0, action=MKDIR), llb.FileAction(input=0, output=0, action=MKDIR)),
            "output 0 given twice",
        ),
        (
            file(llb.FileAction(input=0, output=0, action=replace(MKDIR, owner=llb.Chown(user=llb.Owner(name="u", input=9))))),
            "owner: input index 9",
        ),
        (op(llb.SourceOp(identifier="")), "can't be empty"),
        (op(llb.BuildOp(builder=0)), "builder 0"),
        (op(llb.BuildOp(builder=-1, inputs={"x": 4})), "input index 4"),
        (op(llb.MergeOp(inputs=(0, 7))), "input index 7"),
        (op(llb.DiffOp(lower=0, upper=2)), "input index 2"),
        (op(llb.PassthroughOp(id="", outputs=(0,))), "no id"),
        (op(llb.PassthroughOp(id="x", outputs=())), "no outputs"),
        (op(llb.PassthroughOp(id="x", outputs=(-1,))), "input index -1"),
        (op(None, 2), "without a kind"),
    ],
)
def test_it_is_refused(bad: llb.Op, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        llb.validate_op(bad)


def test_sensible_ops_pass_and_tell_their_outputs() -> None:
    exec_op = op(llb.ExecOp(meta=META, mounts=(ROOT, llb.Mount(dest="/y", output=1), llb.Mount(dest="/z", output=-1))))
    file_op = file(llb.FileAction(input=0, action=MKDIR), llb.FileAction(input=1, output=0, action=MKDIR))
    for good, outputs in (
        (exec_op, 2),
        (file_op, 1),
        (op(llb.PassthroughOp(id="p", outputs=(0, 0)), 1), 2),
        (op(llb.MergeOp(inputs=(0,))), 1),
    ):
        llb.validate_op(good)
        assert llb.output_count(good) == outputs
