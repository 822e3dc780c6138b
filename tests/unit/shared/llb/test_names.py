"""What a vertex is called when nobody named it."""

import pytest

from shared.llb import ops
from shared.llb.names import op_name
from shared.model import sha256_digest

A, B = sha256_digest(b"a"), sha256_digest(b"b")
INPUTS = (ops.Input(digest=A), ops.Input(digest=B))


def files(*actions: ops.Action) -> ops.FileOp:
    return ops.FileOp(actions=tuple(ops.FileAction(input=0, action=action) for action in actions))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ops.SourceOp(identifier="docker-image://x"), "docker-image://x"),
        (ops.ExecOp(meta=ops.Meta(args=("sh", "-c", "x y")), mounts=()), "sh -c x y"),
        (files(ops.MkDir(path="/d"), ops.MkFile(path="/f"), ops.Rm(path="/r")), "mkdir /d, mkfile /f, rm /r"),
        (files(ops.Copy(src="/a", dest="/b"), ops.Symlink(oldpath="o", newpath="n")), "copy /a /b, symlink n -> o"),
        (ops.BuildOp(builder=ops.EMPTY), "build"),
        (ops.MergeOp(inputs=(0, 1)), "merge (first, unknown)"),
        (ops.DiffOp(lower=0, upper=1), "diff (first) -> (unknown)"),
        (ops.DiffOp(lower=ops.EMPTY, upper=0), "diff scratch -> (first)"),
        (ops.DiffOp(lower=7, upper=0), "diff scratch -> (first)"),
        (ops.PassthroughOp(id="p", outputs=(0,)), "passthrough p"),
        (None, "unknown"),
    ],
)
def test_names(kind: ops.Kind | None, name: str) -> None:
    assert op_name(ops.Op(kind=kind, inputs=INPUTS), {A: "first"}) == name
