"""FileOp: its actions on mutable snapshots, in a pool thread (solver/llbsolver/ops/file.go)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field

from services.executor.adapters.file_system import Owner, act
from services.executor.adapters.rooted import Rooted
from services.executor.adapters.upper_writes import opens_upper
from services.executor.core.fileop import FilePlan, Step, owner_of, plan_file_op
from services.executor.core.owners import MAX_USER_FILE, group_id, user_ids
from services.executor.ports import Reporter, SnapshotStore
from shared.blobs.threads import Pool
from shared.errors import BuildFailed, Detail, Exhausted, left_detail
from shared.llb import EMPTY, Action, Chown, FileOp, MkDir, MkFile, Symlink
from shared.llb.ops import Owner as NamedOwner
from shared.model import Ref
from shared.wire.messages import RunOp

__all__ = ["FileRunner"]


_QUICK = (MkDir, MkFile, Symlink)
"""Actions of a few system calls: several threads would only take the interpreter from each other."""


@dataclass(slots=True)
class _Work:
    """One op being carried out. `made` = snapshot ids by index; `open` = the mutable ones among them."""

    plan: FilePlan
    request: RunOp
    inputs: Sequence[str | None]
    stop: threading.Event
    made: dict[int, str] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)


class FileRunner:
    """Runs FileOps."""

    def __init__(self, home: str, store: SnapshotStore, threads: Pool) -> None:
        self._home = home
        self._store = store
        self._threads = threads
        self._quick = Pool("quick-files", 1)

    async def run(self, op: FileOp, request: RunOp, inputs: Sequence[str | None], report: Reporter) -> tuple[str | None, ...]:
        """Snapshot ids by output. Errors: BuildFailed, InvalidInput; Exhausted when the disk is full."""
        work = _Work(plan_file_op(op, len(inputs)), request, inputs, threading.Event())
        threads = self._quick if all(isinstance(step.action, _QUICK) for step in work.plan.steps) else self._threads
        return await threads.stoppable(work.stop.set, self._run, work)

    def _run(self, work: _Work) -> tuple[str | None, ...]:
        try:
            for step in work.plan.steps:
                self._step(work, step)
            return tuple(self._id(work, index) for index in work.plan.outputs)
        except OSError as error:
            raise Exhausted(f"{error.strerror}") from error
        finally:
            for id in work.open:
                self._store.unclaim(id)

    def _id(self, work: _Work, index: int) -> str | None:
        return work.inputs[index] if index < work.plan.inputs else work.made[index]

    def _step(self, work: _Work, step: Step) -> None:
        index = work.plan.inputs + step.number
        id = self._target(work, step)
        work.made[index] = id
        source = None if step.source == EMPTY else self._id(work, step.source)
        owner = self._owner(work, owner_of(step.action))
        with ExitStack() as stack:
            tree = stack.enter_context(self._store.mount(source) if source else nullcontext(None))
            target = stack.enter_context(self._tree(id, step.action, tree))
            failure: BuildFailed | None = None
            try:
                act(step.action, target, tree, owner, stopped=work.stop.is_set)
            except BuildFailed as error:
                failure = error
        if failure is not None:
            raise failure.with_details(self._left(work, step.number))
        if step.commit:
            self._commit(work, id)

    def _tree(self, id: str, action: Action, source: str | None) -> AbstractContextManager[str]:
        """Where to carry out the action on a snapshot that only we use."""
        own = self._store.own_layer(id)
        return nullcontext(own.path) if opens_upper(own, action, source) else self._store.mount(id, writable=True)

    def _commit(self, work: _Work, id: str) -> None:
        self._store.commit(id)
        work.open.discard(id)

    def _left(self, work: _Work, number: int) -> Detail:
        """The trees of all actions up to the one that failed: clients can open a container over them."""
        for id in list(work.open):
            self._commit(work, id)
        trees = [work.made.get(work.plan.inputs + step.number) for step in work.plan.steps]
        refs = [None if id is None else Ref(id=id, home=self._home) for id in trees]
        return left_detail(work.request.inputs, refs, {"file": {"index": number}})

    def _target(self, work: _Work, step: Step) -> str:
        if step.extends:
            return work.made[step.base]
        parent = None if step.base == EMPTY else self._id(work, step.base)
        made = self._store.prepare(parent, description=work.request.name, lease=work.request.scope.lease)
        work.open.add(made.id)
        return made.id

    def _owner(self, work: _Work, chown: Chown | None) -> Owner | None:
        """Numbers for names; a user by number brings an equal group, a name its own; a name nobody knows is root."""
        if chown is None:
            return None
        uid = gid = 0
        if chown.user is not None:
            if chown.user.name:
                uid, gid = user_ids(chown.user.name, self._file(work, chown.user, "/etc/passwd", "user"))
            else:
                uid = gid = chown.user.id
        if chown.group is not None:
            named = chown.group.name
            gid = group_id(named, self._file(work, chown.group, "/etc/group", "group")) if named else chown.group.id
        return uid, gid

    def _file(self, work: _Work, owner: NamedOwner, path: str, what: str) -> bytes:
        id = None if owner.input == EMPTY else self._id(work, owner.input)
        if id is None:
            raise BuildFailed(f"invalid missing {what} mount")
        with self._store.mount(id) as tree, Rooted(tree) as root:
            try:
                return root.read(path, MAX_USER_FILE)
            except (FileNotFoundError, NotADirectoryError):
                return b""
