"""Random graphs in every order of answers: same results, each vertex at most once, nothing left over, never stuck."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from services.solver.core.scheduler import Statistics
from services.solver.core.vertex import Output, Vertex
from tests.kit.solver_world import MemoryIndex, World, op_of, sha, vtx

EMPTY = Statistics(vertices=0, edges_indexed=0, calls=0, requests=0, parked=0, results=0)


Plan = list[tuple[int, tuple[int, ...], frozenset[int], int, bool]]


@st.composite
def blueprints(draw: st.DrawFn) -> Plan:
    """Vertices in order: (value, inputs among earlier ones, inputs with content key, seed, ignore cache)."""
    count = draw(st.integers(1, 9))
    plan = []
    for i in range(count):
        inputs = tuple(draw(st.lists(st.integers(0, i - 1), max_size=3, unique=True))) if i else ()
        content = frozenset(draw(st.lists(st.integers(0, len(inputs) - 1), unique=True))) if inputs else frozenset()
        plan.append((draw(st.integers(0, 3)), inputs, content, draw(st.integers(0, 2)), draw(st.integers(0, 9)) == 0))
    return plan


def build_graph(plan: Plan, prefix: str) -> list[Vertex]:
    """The plan as vertices. The seed stands for everything in the op that is part of its key, the value included."""
    vertices: list[Vertex] = []
    for i, (value, inputs, content, seed, ignore) in enumerate(plan):
        vertices.append(
            vtx(
                f"{prefix}{i}",
                *(Output(vertices[j]) for j in inputs),
                ignore_cache=ignore,
                value=value,
                seeds=(f"{value} {seed} {len(inputs)} {sorted(content)}",),
                content={j: lambda v: sha(f"content {v}") for j in content},
            )
        )
    return vertices


def expected(vertex: Vertex) -> int:
    """What the vertex computes."""
    return op_of(vertex).value + sum(expected(out.vertex) for out in vertex.inputs)


def chooser(draws: list[int]) -> Callable[[int], int]:
    """Takes the next of the drawn numbers, over and over."""
    position = 0

    def choose(count: int) -> int:
        nonlocal position
        position += 1
        return draws[position % len(draws)] % count

    return choose


orders = st.lists(st.integers(0, 1000), min_size=1, max_size=40)


@given(blueprints(), orders)
@settings(max_examples=300, deadline=None)
def test_any_order_gives_the_same_result_and_runs_each_vertex_once(plan: Plan, draws: list[int]) -> None:
    """One build from nothing."""
    world = World(choose=chooser(draws))
    vertices = build_graph(plan, "v")
    assert world.solve(vertices[-1], "job") == expected(vertices[-1])
    assert all(op_of(v).runs <= 1 for v in vertices)
    world.close("job")
    assert world.scheduler.statistics() == EMPTY


@given(blueprints(), orders)
@settings(max_examples=200, deadline=None)
def test_a_second_build_runs_nothing_but_what_ignores_the_cache(plan: Plan, draws: list[int]) -> None:
    """Other digests, same keys: everything comes from the cache."""
    index = MemoryIndex()
    first = World(index)
    plan = [(v, i, c, s, False) for v, i, c, s, _ in plan]
    vertices = build_graph(plan, "v")
    first.solve(vertices[-1], "job")
    second = World(index, choose=chooser(draws))
    again = build_graph(plan, "w")
    assert second.solve(again[-1], "job") == expected(again[-1])
    assert [op_of(v).runs for v in again] == [0] * len(again)
    second.close("job")
    assert second.scheduler.statistics() == EMPTY


@given(blueprints(), blueprints(), orders, st.integers(0, 30), st.booleans())
@settings(max_examples=300, deadline=None)
def test_builds_side_by_side_with_one_cancelled(plan: Plan, other: Plan, draws: list[int], steps: int, shared_names: bool) -> None:
    """Two builds that may share vertices or only keys; one is cancelled at some moment, the other must not notice."""
    world = World(choose=chooser(draws))
    mine = build_graph(plan, "v")
    theirs = build_graph(plan if shared_names else other, "v" if shared_names else "w")
    request = world.build(mine[-1], "one")
    doomed = world.build(theirs[-1], "two")
    for _ in range(steps):
        world.step()
    world.cancel(doomed)
    world.run()
    assert world.value(request) == expected(mine[-1])
    assert doomed in world.results
    world.close("two", "one")
    assert world.scheduler.statistics() == EMPTY
    assert world.open == {}


@given(blueprints(), orders, st.lists(st.integers(0, 8), max_size=6))
@settings(max_examples=200, deadline=None)
def test_failures_end_the_build_and_leave_nothing(plan: Plan, draws: list[int], failing: list[int]) -> None:
    """Vertices fail to run: the build says so, and the scheduler is empty again."""
    world = World(choose=chooser(draws))
    vertices = build_graph(plan, "v")
    for i in failing:
        op_of(vertices[i % len(vertices)]).run_error = "broken"
    request = world.build(vertices[-1], "job")
    world.run()
    assert request in world.results
    world.close("job")
    assert world.scheduler.statistics() == EMPTY
