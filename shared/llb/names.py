"""What a vertex is called in progress when nobody gave it a name (solver/llbsolver/vertex.go llbOpName)."""

from collections.abc import Mapping

from shared.llb import ops
from shared.model import Digest


def op_name(op: ops.Op, names: Mapping[Digest, str]) -> str:
    """`names` has the names of ops already named, for those that are called after their inputs."""
    match op.kind:
        case ops.SourceOp():
            return op.kind.identifier
        case ops.ExecOp():
            return " ".join(op.kind.meta.args)
        case ops.FileOp():
            return ", ".join(_action_name(a.action) for a in op.kind.actions)
        case ops.BuildOp():
            return "build"
        case ops.MergeOp():
            return "merge (" + ", ".join(names.get(i.digest, "unknown") for i in op.inputs) + ")"
        case ops.DiffOp():
            return f"diff {_side_name(op.kind.lower, op, names)} -> {_side_name(op.kind.upper, op, names)}"
        case ops.PassthroughOp():
            return "passthrough " + op.kind.id
        case None:
            return "unknown"


def _side_name(index: int, op: ops.Op, names: Mapping[Digest, str]) -> str:
    if not 0 <= index < len(op.inputs):
        return "scratch"
    return f"({names.get(op.inputs[index].digest, 'unknown')})"


def _action_name(action: ops.Action) -> str:
    match action:
        case ops.MkDir():
            return f"mkdir {action.path}"
        case ops.MkFile():
            return f"mkfile {action.path}"
        case ops.Rm():
            return f"rm {action.path}"
        case ops.Copy():
            return f"copy {action.src} {action.dest}"
        case ops.Symlink():
            return f"symlink {action.newpath} -> {action.oldpath}"
