"""The work of one vertex: called once whoever asks, remembered, cancelled with the last who waits."""

from typing import Any

import pytest

from services.solver.core.effects import CancelCall, ComputeCacheMap, Effect, HashContent, LoadResult, Progress, Run
from services.solver.core.pipe import CanceledPipe, Pipe
from services.solver.core.result import Ledger, SharedResult
from services.solver.core.shared_op import FlightKey, SharedOp
from services.solver.core.vertex import CacheMap, CacheRecord, Output, Vertex

MAP = CacheMap(digest="m")


class Out:
    """What the scheduler would do."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.effects: list[Effect] = []
        self.calls = 0
        self.answers: list[tuple[Pipe, Any, BaseException | None]] = []
        self.runs: list[tuple[Pipe, list[Any]]] = []

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    def open_call(self, op: SharedOp, key: FlightKey) -> int:
        self.calls += 1
        return self.calls

    def deliver(self, pipe: Pipe, value: Any, error: BaseException | None) -> None:
        self.answers.append((pipe, value.value if isinstance(value, SharedResult) else value, error))

    def deliver_run(self, pipe: Pipe, results: list[SharedResult]) -> None:
        self.runs.append((pipe, [result.value for result in results]))

    def told(self) -> list[Effect]:
        """Effects since the last look, progress left out."""
        found, self.effects = [e for e in self.effects if not isinstance(e, Progress)], []
        return found


def pipes(count: int) -> list[Pipe]:
    return [Pipe(asker=None) for _ in range(count)]


@pytest.fixture
def out() -> Out:
    return Out()


@pytest.fixture
def op(out: Out) -> SharedOp:
    source = Vertex("sha256:a", "source")
    return SharedOp(Vertex("sha256:b", "op", inputs=(Output(source),)), out)


def test_askers_share_a_call_and_later_ones_its_memory(op: SharedOp, out: Out) -> None:
    first, second, third = pipes(3)
    op.cache_map(first, 0)
    op.cache_map(second, 0)
    assert [type(e) for e in out.told()] == [ComputeCacheMap]

    op.answered(("cache_map", 0), MAP)
    op.cache_map(third, 0)
    assert out.answers == [(first, MAP, None), (second, MAP, None), (third, MAP, None)]
    assert out.told() == []


def test_cache_maps_are_numbered(op: SharedOp, out: Out) -> None:
    for index in range(2):
        op.cache_map(pipes(1)[0], index)
        op.answered(("cache_map", index), CacheMap(digest=str(index), last=index == 1))

    assert [e.index for e in out.told() if isinstance(e, ComputeCacheMap)] == [0, 1]


def test_content_is_hashed_once_per_input(op: SharedOp, out: Out) -> None:
    for pipe in pipes(2):
        op.content(pipe, 0, (), "ref")
    op.content(pipes(1)[0], 1, (), "other")
    assert [(e.input, e.value) for e in out.told() if isinstance(e, HashContent)] == [(0, "ref"), (1, "other")]

    op.answered(("content", 0), "sha256:c")
    op.content(pipes(1)[0], 0, (), "ref")
    assert [value for _, value, _ in out.answers] == ["sha256:c"] * 3


def test_a_run_s_results_are_kept_until_they_are_let_go(op: SharedOp, out: Out) -> None:
    first, second = pipes(2)
    op.run(first, ("in",), ())
    op.answered(("run", 0), ("o0", None))
    op.run(second, ("in",), ())
    assert (out.runs, [type(e) for e in out.told()]) == ([(first, ["o0", None]), (second, ["o0", None])], [Run])

    op.forget_results()
    assert (out.ledger.held, out.ledger.drain()) == (0, ["o0", None])
    op.run(pipes(1)[0], ("in",), ())
    assert [type(e) for e in out.told()] == [Run]


def test_a_stored_result_is_loaded_for_each_who_waits_and_not_remembered(op: SharedOp, out: Out) -> None:
    first, second = pipes(2)
    record = CacheRecord(id="r")
    op.load(first, 0, record)
    op.load(second, 0, record)
    op.answered(("load", 0), "ref")
    assert [(pipe, value) for pipe, value, _ in out.answers] == [(first, "ref"), (second, "ref")]
    assert out.ledger.held == 2

    op.load(pipes(1)[0], 0, record)
    assert [type(e) for e in out.told()] == [LoadResult, LoadResult]


def test_errors_are_remembered(op: SharedOp, out: Out) -> None:
    error = ValueError("x")
    op.run(pipes(1)[0], (), ())
    op.failed(("run", 0), error, canceled=False)
    op.run(pipes(1)[0], (), ())

    assert [(value, found) for _, value, found in out.answers] == [(None, error)] * 2
    assert [type(e) for e in out.told()] == [Run]


def test_a_failed_load_may_be_tried_again(op: SharedOp, out: Out) -> None:
    """A lost cache blob is a miss, never a failed build."""
    for _ in range(2):
        op.load(pipes(1)[0], 0, CacheRecord(id="r"))
        op.failed(("load", 0), ValueError("gone"), canceled=False)

    assert [type(e) for e in out.told()] == [LoadResult, LoadResult]


def test_the_call_ends_with_the_last_who_waits(op: SharedOp, out: Out) -> None:
    first, second = pipes(2)
    op.run(first, (), ())
    op.run(second, (), ())
    out.told()
    op.leave(first)
    assert out.told() == []

    op.leave(second)
    assert out.told() == [CancelCall(call=1)]
    assert [type(error) for _, _, error in out.answers] == [CanceledPipe] * 2
    op.leave(Pipe(asker=None))  # whoever is unknown changes nothing


def test_who_comes_after_the_cancel_gets_a_call_of_its_own(op: SharedOp, out: Out) -> None:
    first, late = pipes(2)
    op.run(first, ("old",), ())
    op.leave(first)
    op.run(late, ("new",), ())
    assert [type(e) for e in out.told()] == [Run, CancelCall]

    op.failed(("run", 0), CanceledPipe(), canceled=True)
    (again,) = out.told()
    assert isinstance(again, Run) and again.inputs == ("new",)
    op.answered(("run", 0), ("ref",))
    assert out.runs == [(late, ["ref"])]


def test_a_cancel_that_came_too_late_changes_nothing(op: SharedOp, out: Out) -> None:
    first, late = pipes(2)
    op.run(first, (), ())
    op.leave(first)
    op.run(late, (), ())
    op.answered(("run", 0), ("ref",))

    assert out.runs == [(late, ["ref"])]


def test_a_result_that_nobody_waits_for_is_let_go(op: SharedOp, out: Out) -> None:
    (first,) = pipes(1)
    op.load(first, 0, CacheRecord(id="r"))
    op.leave(first)
    op.answered(("load", 0), "ref")

    assert (out.ledger.held, out.ledger.drain()) == (0, ["ref"])


def test_a_relaunch_keeps_the_waiters(op: SharedOp, out: Out) -> None:
    """Its inputs were lost and made again."""
    (first,) = pipes(1)
    op.run(first, ("lost",), ())
    op.relaunch(("run", 0), lambda call: Run(call=call, vertex=op.vertex, inputs=("again",)))
    op.answered(("run", 0), ("ref",))

    assert [(e.call, e.inputs) for e in out.told() if isinstance(e, Run)] == [(1, ("lost",)), (2, ("again",))]
    assert out.runs == [(first, ["ref"])]


def test_release_cancels_what_is_under_way_once(op: SharedOp, out: Out) -> None:
    (first,) = pipes(1)
    op.run(first, (), ())
    op.cache_map(pipes(1)[0], 0)
    op.leave(first)
    out.told()
    op.release()

    assert out.told() == [CancelCall(call=2)]


def test_only_work_is_shown_to_users(out: Out) -> None:
    """Running, loading, and the resolving of sources; a failure always."""
    source = SharedOp(Vertex("sha256:a", "source"), out)
    op = SharedOp(Vertex("sha256:b", "op", inputs=(Output(source.vertex),)), out)
    source.cache_map(pipes(1)[0], 0)
    op.cache_map(pipes(1)[0], 0)
    op.load(pipes(1)[0], 0, CacheRecord(id="r"))
    began = [(e.vertex.name, e.completed, e.cached) for e in out.effects if isinstance(e, Progress)]
    assert began == [("source", False, False), ("op", False, True)]

    out.effects.clear()
    error = ValueError("x")
    op.failed(("cache_map", 0), error, canceled=False)
    assert [(e.completed, e.error) for e in out.effects if isinstance(e, Progress)] == [(False, None), (True, error)]
