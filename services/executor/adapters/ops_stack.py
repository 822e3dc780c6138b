"""MergeOp and DiffOp: snapshots made of others' layers (solver/llbsolver/ops/{merge,diff}.go)."""

from __future__ import annotations

from collections.abc import Sequence

from services.executor.ports import Reporter, SnapshotStore
from shared.blobs.threads import Pool
from shared.errors import InvalidInput
from shared.llb import EMPTY, DiffOp, MergeOp
from shared.wire.messages import RunOp

__all__ = ["DiffRunner", "MergeRunner"]


class MergeRunner:
    """Layers stacked in order; empty inputs are dropped."""

    def __init__(self, store: SnapshotStore, threads: Pool) -> None:
        self._store = store
        self._threads = threads

    async def run(self, op: MergeOp, request: RunOp, inputs: Sequence[str | None], report: Reporter) -> tuple[str | None, ...]:
        """One id; None when every input is empty."""
        ids = [id for index in op.inputs if (id := _input(inputs, index)) is not None]
        if not ids:
            return (None,)
        report.status("merging")
        merged = await self._threads.finish(self._store.merge, ids, description=request.name, lease=request.scope.lease)
        report.status("merging", done=True)
        return (merged.id,)


class DiffRunner:
    """What lies between two trees."""

    def __init__(self, store: SnapshotStore, threads: Pool) -> None:
        self._store = store
        self._threads = threads

    async def run(self, op: DiffOp, request: RunOp, inputs: Sequence[str | None], report: Reporter) -> tuple[str | None, ...]:
        """One id; None for equal or empty trees."""
        lower, upper = _input(inputs, op.lower), _input(inputs, op.upper)
        if lower == upper:
            return (None,)
        if upper is None:  # everything of lower was deleted: a layer of deletions alone
            upper = await self._threads.finish(self._empty, request.scope.lease)
        report.status("diffing")
        made = await self._threads.finish(self._store.diff, lower, upper, description=request.name, lease=request.scope.lease)
        report.status("diffing", done=True)
        return (made.id,)

    def _empty(self, lease: str) -> str:
        return self._store.commit(self._store.prepare(None, lease=lease).id).id


def _input(inputs: Sequence[str | None], index: int) -> str | None:
    if index == EMPTY:
        return None
    if not 0 <= index < len(inputs):
        raise InvalidInput(f"invalid input index {index}, {len(inputs)} provided")
    return inputs[index]
