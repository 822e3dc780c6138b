"""Decisions, remembered within bounds."""

from services.solver.core.trace import Trace


def test_the_newest_are_kept_and_told() -> None:
    trace = Trace(size=2)
    for step in range(3):
        trace.step = step
        trace.add("sha256:" + "a" * 64, "RUN x", 0, "run", {"call": step})

    assert [str(decision) for decision in trace] == [f"{n} run 'RUN x'#0 sha256:{'a' * 12} call={n}" for n in (1, 2)]


def test_of_one_vertex() -> None:
    trace = Trace()
    for vertex in ("a", "b", "a"):
        trace.add(vertex, vertex, 1, "seen", {})

    assert [d.vertex for d in trace.of("a")] == ["a", "a"]
    assert trace.of("c") == []


def test_size_0_remembers_nothing() -> None:
    trace = Trace(size=0)
    trace.add("a", "a", 0, "run", {})

    assert (trace.enabled, list(trace)) == (False, [])
