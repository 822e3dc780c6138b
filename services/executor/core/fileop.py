"""The order of a FileOp's actions and which snapshots they share (solver/llbsolver/ops/file.go; reference 03 §4).

An index below the number of inputs names an input of the op, a higher one the result of an earlier action, -1 nothing.
Actions whose result nobody else needs continue in the same mutable snapshot: a chain of actions makes one snapshot.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from shared.errors import InvalidInput
from shared.llb import EMPTY, SKIP, Action, Chown, FileOp, Rm

__all__ = ["FilePlan", "Step", "clean_path", "owner_of", "plan_file_op"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One action. `base` and `source` are indexes as in the op (EMPTY = scratch).

    `extends` True: it continues in the mutable snapshot of `base`; False: a new child of `base`.
    `commit` True: the snapshot is final after this action, since it is an output or others build on it.
    """

    number: int
    action: Action
    base: int
    source: int
    extends: bool
    commit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlan:
    """Steps in an order in which they can run; `outputs[i]` is the index of what output i is."""

    inputs: int
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]


def plan_file_op(op: FileOp, inputs: int) -> FilePlan:
    """The plan. Errors: InvalidInput for indexes out of range, loops, missing or doubled outputs."""
    total = inputs + len(op.actions)
    outputs: dict[int, int] = {}
    users: dict[int, int] = {}
    for number, action in enumerate(op.actions):
        for what, index in _references(op, number):
            if not EMPTY <= index < total:
                raise InvalidInput(f"invalid {what} index {index}, {total} provided")
            users[index] = users.get(index, 0) + 1
        if action.output != SKIP:
            if action.output in outputs:
                raise InvalidInput(f"duplicate output {action.output}")
            outputs[action.output] = inputs + number
    if not outputs:
        raise InvalidInput("no outputs specified")
    for index in range(len(outputs)):
        if index not in outputs:
            raise InvalidInput(f"missing output index {index}")
    final = set(outputs.values())
    shared = final | {index for index, count in users.items() if count > 1} | _read_only_uses(op)
    order = _order(op, inputs, [outputs[index] for index in range(len(outputs))])
    steps = tuple(_step(op, number, inputs, shared) for number in order)
    return FilePlan(inputs=inputs, steps=steps, outputs=tuple(outputs[index] for index in range(len(outputs))))


def _step(op: FileOp, number: int, inputs: int, shared: set[int]) -> Step:
    action = op.actions[number]
    return Step(
        number=number,
        action=action.action,
        base=action.input,
        source=action.secondary_input,
        extends=action.input >= inputs and action.input not in shared,
        commit=inputs + number in shared,
    )


def _references(op: FileOp, number: int) -> list[tuple[str, int]]:
    action = op.actions[number]
    names = [("input", action.input), ("secondary input", action.secondary_input)]
    return names + [("user input", index) for index in _user_inputs(action.action)]


def _read_only_uses(op: FileOp) -> set[int]:
    """Results that are read by a copy or an owner look-up: those must be final before."""
    found = {action.secondary_input for action in op.actions}
    for action in op.actions:
        found.update(_user_inputs(action.action))
    return found


def _user_inputs(action: Action) -> list[int]:
    owner = owner_of(action)
    return [one.input for one in (owner.user, owner.group) if one is not None and one.name] if owner is not None else []


def owner_of(action: Action) -> Chown | None:
    """The owner that an action sets, if it can."""
    return None if isinstance(action, Rm) else action.owner


def _order(op: FileOp, inputs: int, roots: list[int]) -> list[int]:
    """Numbers of the actions that the outputs need, each after those it needs. Errors: InvalidInput for a loop."""
    done: list[int] = []
    seen: set[int] = set()
    path: set[int] = set()
    work = [(index, False) for index in reversed(roots)]
    while work:
        index, leaving = work.pop()
        number = index - inputs
        if leaving:
            path.discard(number)
            done.append(number)
            continue
        if number < 0 or number in seen:
            if number in path:
                raise InvalidInput(f"loop from index {index}")
            continue
        seen.add(number)
        path.add(number)
        work.append((index, True))
        work += [(needed, False) for _, needed in _references(op, number)]
    return done


def clean_path(path: str) -> str:
    """Absolute and clean, but a trailing `/` or `/.` stays: it says that a directory is meant (file/backend.go cleanPath)."""
    clean = "/" + posixpath.normpath("/" + path).lstrip("/")
    if path.endswith("/."):
        return clean.rstrip("/") + "/."
    return clean + "/" if path.endswith("/") and clean != "/" else clean
