"""Does an op hold together? Checked again by whoever receives one (solver/llbsolver/ops/opsutils/validate.go, CVE-2024-23651…)."""

from shared.errors import InvalidInput
from shared.llb import ops

MAX_MOUNTS = 1_000
MAX_ACTIONS = 10_000


def validate_op(op: ops.Op) -> None:
    """Raises InvalidInput naming what is wrong: missing parts, indexes that point nowhere, forward references."""
    count = len(op.inputs)
    match op.kind:
        case ops.ExecOp():
            _exec(op.kind, count)
        case ops.FileOp():
            _file(op.kind, count)
        case ops.SourceOp():
            if not op.kind.identifier:
                raise InvalidInput("source identifier can't be empty")
        case ops.BuildOp():
            _build(op.kind, count)
        case ops.MergeOp():
            for index in op.kind.inputs:
                _input(index, count, "merge op", allow_empty=True)
        case ops.DiffOp():
            _input(op.kind.lower, count, "diff op", allow_empty=True)
            _input(op.kind.upper, count, "diff op", allow_empty=True)
        case ops.PassthroughOp():
            _passthrough(op.kind, count)
        case None:
            if count != 1:
                raise InvalidInput(f"operation without a kind and with {count} inputs")


def output_count(op: ops.Op) -> int:
    """How many outputs the op has; 1 for those that have exactly one."""
    match op.kind:
        case ops.ExecOp():
            return len({m.output for m in op.kind.mounts if m.output >= 0}) or 0
        case ops.FileOp():
            return max((a.output for a in op.kind.actions), default=-1) + 1
        case ops.PassthroughOp():
            return len(op.kind.outputs)
        case _:
            return 1


def _input(index: int, count: int, what: str, *, allow_empty: bool) -> None:
    if index == ops.EMPTY and allow_empty:
        return
    if not 0 <= index < count:
        raise InvalidInput(f"invalid {what}: input index {index} of {count} inputs")


def _exec(op: ops.ExecOp, count: int) -> None:
    if not op.meta.args:
        raise InvalidInput("invalid exec op with no args")
    if not op.mounts:
        raise InvalidInput("invalid exec op with no mounts")
    if len(op.mounts) > MAX_MOUNTS:
        raise InvalidInput(f"invalid exec op: {len(op.mounts)} mounts")
    if not any(m.dest == "/" for m in op.mounts):
        raise InvalidInput("invalid exec op with no rootfs")
    for mount in op.mounts:
        _input(mount.input, count, "exec op", allow_empty=True)
        if not -1 <= mount.output < len(op.mounts):
            raise InvalidInput(f"invalid exec op: output index {mount.output} of {len(op.mounts)} mounts")
        _mount(mount)


def _mount(mount: ops.Mount) -> None:
    if mount.type is ops.MountType.CACHE and mount.cache is None:
        raise InvalidInput(f"invalid exec op: mount {mount.dest!r} without cache options")
    if mount.type is ops.MountType.SECRET and mount.secret is None:
        raise InvalidInput(f"invalid exec op: mount {mount.dest!r} without secret options")
    if mount.type is ops.MountType.SSH and mount.ssh is None:
        raise InvalidInput(f"invalid exec op: mount {mount.dest!r} without ssh options")
    if not mount.dest:
        raise InvalidInput("invalid exec op: mount without a destination")


def _file(op: ops.FileOp, count: int) -> None:
    if not op.actions:
        raise InvalidInput("invalid file op with no actions")
    if len(op.actions) > MAX_ACTIONS:
        raise InvalidInput(f"invalid file op: {len(op.actions)} actions")
    outputs: set[int] = set()
    for position, action in enumerate(op.actions):
        reachable = count + position
        _input(action.input, reachable, "file op", allow_empty=True)
        _input(action.secondary_input, reachable, "file op", allow_empty=True)
        if not -1 <= action.output < len(op.actions):
            raise InvalidInput(f"invalid file op: output index {action.output} of {len(op.actions)} actions")
        if action.output >= 0 and action.output in outputs:
            raise InvalidInput(f"invalid file op: output {action.output} given twice")
        outputs.add(action.output)
        owner = None if isinstance(action.action, ops.Rm) else action.action.owner
        for side in (owner.user, owner.group) if owner is not None else ():
            if side is not None and side.name:
                _input(side.input, reachable, "file op owner", allow_empty=True)
    outputs.discard(ops.SKIP)
    if outputs != set(range(len(outputs))) or not outputs:
        raise InvalidInput("invalid file op: outputs are not numbered from 0 without a gap")


def _build(op: ops.BuildOp, count: int) -> None:
    if op.builder != ops.EMPTY:
        raise InvalidInput(f"invalid build op: builder {op.builder}")
    for index in op.inputs.values():
        _input(index, count, "build op", allow_empty=False)


def _passthrough(op: ops.PassthroughOp, count: int) -> None:
    if not op.id:
        raise InvalidInput("invalid passthrough op with no id")
    if not op.outputs:
        raise InvalidInput("invalid passthrough op with no outputs")
    for index in op.outputs:
        _input(index, count, "passthrough op", allow_empty=False)
