"""The situations that BuildKit's scheduler tests describe (solver/scheduler_test.go), told with our own ops: what must hold is
how often work ran and what was loaded. Values are sums: a value made from a cached input shows where it came from.
"""

import random
from collections.abc import Iterator

import pytest

from services.solver.core.events import Answered, InputsLost, ResultLost
from services.solver.core.pipe import CanceledPipe
from services.solver.core.scheduler import Statistics
from services.solver.core.vertex import Output, Vertex
from tests.kit.solver_world import Canceled, World, counts, op_of, sha, vtx

EMPTY = Statistics(vertices=0, edges_indexed=0, calls=0, requests=0, parked=0, results=0)


@pytest.fixture
def world() -> Iterator[World]:
    """At the end no edge was ever forced, and nothing is left once the jobs are closed."""
    world = World()
    yield world
    world.close(*[f"j{i}" for i in range(10)])
    assert world.scheduler.statistics() == EMPTY
    assert [d for d in world.scheduler.trace if d.what == "forced"] == []


def by_content(value: object) -> str:
    return sha(f"content {value}")


def runs(*vertices: Vertex) -> list[int]:
    return [op_of(v).runs for v in vertices]


# --- one vertex


def test_an_active_vertex_is_shared_by_digest(world: World) -> None:
    """Jobs that come while it lives get its result; when the last has gone it starts anew (here: from the cache)."""
    first, second = vtx("v", value=1), vtx("v", value=2)
    assert [world.solve(first, "j0"), world.solve(second, "j1")] == [1, 1]
    assert counts([first, second]) == [(1, 1), (0, 0)]
    world.close("j0")
    assert world.solve(vtx("v", value=3), "j2") == 1
    world.close("j1", "j2")
    other = vtx("v", value=4, seeds=("other",))
    assert world.solve(other, "j3") == 4


def test_two_jobs_at_the_same_time_share_the_call(world: World) -> None:
    """Nothing is asked twice while it is under way."""
    vertex = vtx("v", value=1, hold=frozenset({"map", "run"}))
    requests = [world.build(vertex, "j0"), world.build(vertex, "j1")]
    world.let("v")
    world.run()
    assert [world.value(r) for r in requests] == [1, 1]
    assert counts([vertex]) == [(1, 1)]


def test_a_result_is_found_by_key_under_another_digest(world: World) -> None:
    """Another seed is another key; the same seed is the same result."""
    world.solve(vtx("v0", value=1, seeds=("s",)), "j0")
    world.close("j0")
    other, same = vtx("v1", value=2, seeds=("t",)), vtx("v2", value=3, seeds=("s",))
    assert [world.solve(other, "j1"), world.solve(same, "j2")] == [2, 1]
    assert counts([other, same]) == [(1, 1), (1, 0)]
    assert world.loads == 1


def test_equal_keys_are_merged_while_both_run(world: World) -> None:
    """Two digests, one key: one run."""
    a, b = (vtx(name, value=1, seeds=("s",), hold=frozenset({"run"})) for name in ("a", "b"))
    requests = [world.build(a, "j0"), world.build(b, "j1")]
    world.run()
    assert len(world.held()) == 1
    world.let("a")
    world.let("b")
    world.run()
    assert [world.value(r) for r in requests] == [1, 1]
    assert sum(runs(a, b)) == 1


def test_cancel_during_the_cache_map(world: World) -> None:
    """The build ends at once, the call is told, nothing ran."""
    vertex = vtx("v", value=1, hold=frozenset({"map"}))
    request = world.build(vertex, "j0")
    world.cancel(request)
    assert isinstance(world.results[request].error, CanceledPipe)
    world.run()
    assert counts([vertex]) == [(0, 0)]


def test_cancel_during_the_run_is_not_remembered(world: World) -> None:
    """A later build runs it again."""
    vertex = vtx("v", value=1, hold=frozenset({"run"}))
    request = world.build(vertex, "j0")
    world.run()
    world.cancel(request)
    world.run()
    assert request in world.results
    world.let("v")
    assert world.solve(vertex, "j1") == 1


def test_a_build_that_comes_while_a_cancel_is_under_way_gets_a_new_call(world: World) -> None:
    """It waits for the old call to end, then runs."""
    vertex = vtx("v", value=1, hold=frozenset({"run"}))
    request = world.build(vertex, "j0")
    world.run()
    world.cancel(request)
    again = world.build(vertex, "j1")
    world.let("v")
    world.run()
    assert world.value(again) == 1


def test_cancel_of_one_of_two_jobs_changes_nothing_for_the_other(world: World) -> None:
    """The call is not cancelled."""
    vertex = vtx("v", value=1, hold=frozenset({"run"}))
    one, two = world.build(vertex, "j0"), world.build(vertex, "j1")
    world.run()
    world.cancel(one)
    assert world.canceled == {}
    world.let("v")
    world.run()
    assert world.value(two) == 1
    assert runs(vertex) == [1]


@pytest.mark.parametrize("where", ["map_error", "run_error"])
def test_errors_reach_the_build_and_stay_while_the_vertex_lives(world: World, where: str) -> None:
    """A second job gets the same error without another try; when all have gone it is tried again."""
    broken = vtx("below", value=1)
    setattr(op_of(broken), where, "boom")
    top = vtx("top", broken)
    for job in ("j0", "j1"):
        with pytest.raises(RuntimeError, match="boom"):
            world.solve(top, job)
    assert (op_of(broken).maps, op_of(broken).runs)[where == "run_error"] == 1
    world.close("j0", "j1")
    setattr(op_of(broken), where, "")
    assert world.solve(top, "j2") == 1


def test_an_output_that_the_op_does_not_have_is_an_error(world: World) -> None:
    """Not a crash."""
    with pytest.raises(LookupError, match="output 3 was asked for"):
        world.solve(Output(vtx("v"), 3), "j0")


# --- several vertices


def test_inputs_are_solved_side_by_side(world: World) -> None:
    """Both run before either has ended."""
    a, b = vtx("a", value=1, hold=frozenset({"run"})), vtx("b", value=2, hold=frozenset({"run"}))
    request = world.build(vtx("top", a, b), "j0")
    world.run()
    assert sorted(world.held()) == ["run a", "run b"]
    world.let("a")
    world.let("b")
    world.run()
    assert world.value(request) == 3


def test_a_chain_is_found_in_the_cache_by_its_last_vertex(world: World) -> None:
    """One load; the inputs are neither loaded nor run."""
    for prefix, job in (("v", "j0"), ("w", "j1")):
        chain = [vtx(f"{prefix}0", value=1, seeds=("0",))]
        for i in range(1, 6):
            chain.append(vtx(f"{prefix}{i}", chain[-1], value=i, seeds=(str(i),)))
        assert world.solve(chain[-1], job) == 16
        world.close(job)
    assert runs(*chain) == [0] * 6
    assert world.loads == 1


def test_a_huge_graph_of_few_distinct_keys(world: World) -> None:
    """Merging keeps the number of runs at the number of keys."""
    dice = random.Random(7)
    vertices = [vtx(f"leaf{i}", value=i % 5, seeds=(f"leaf {i % 5}",)) for i in range(40)]
    for i in range(400):
        chosen = dice.sample(vertices[-40:], 3)
        vertices.append(vtx(f"v{i}", *chosen, value=i % 3, seeds=(f"sum {i % 3}",)))
    top = vtx("top", *vertices[-40:])

    def total(vertex: Vertex, known: dict[str, int]) -> int:
        if vertex.digest not in known:
            known[vertex.digest] = op_of(vertex).value + sum(total(o.vertex, known) for o in vertex.inputs)
        return known[vertex.digest]

    assert world.solve(top, "j0") == total(top, {})
    assert sum(runs(*vertices[:40])) == 5


# --- content keys


def test_a_content_key_finds_what_the_definition_misses(world: World) -> None:
    """Another input with equal content leads to the stored result; next time the definition is enough."""
    content = {0: by_content}
    world.solve(vtx("a", vtx("x", value=1), value=1, seeds=("op",), content=content), "j0")
    world.close("j0")
    again = vtx("b", vtx("y", value=1), value=99, seeds=("op",), content=content)
    assert world.solve(again, "j1") == 2
    assert runs(again) == [0]
    assert op_of(again).hashes == 1
    world.close("j1")
    third = vtx("c", vtx("y", value=1), value=99, seeds=("op",), content=content)
    assert world.solve(third, "j2") == 2
    assert op_of(third).hashes == 0


def test_an_input_that_matches_by_definition_is_not_loaded(world: World) -> None:
    """Only the input that changed is made and hashed."""
    content = {1: by_content}
    world.solve(vtx("a", vtx("x", value=1), vtx("y", value=2), seeds=("op",), content=content), "j0")
    world.close("j0")
    x, y = vtx("x", value=1), vtx("y-changed", value=2)
    again = vtx("a2", x, y, value=99, seeds=("op",), content=content)
    assert world.solve(again, "j1") == 3
    assert runs(again, x, y) == [0, 0, 1]
    assert world.loads == 1


def test_a_matched_input_is_hashed_last(world: World) -> None:
    """Both have content keys; the one that matched by definition is never made."""
    content = {0: by_content, 1: by_content}
    world.solve(vtx("a", vtx("x", value=1), vtx("y", value=2), seeds=("op",), content=content), "j0")
    world.close("j0")
    x, y = vtx("x", value=1), vtx("y2", value=2)
    again = vtx("a2", x, y, value=99, seeds=("op",), content=content)
    assert world.solve(again, "j1") == 3
    assert runs(again, x, y) == [0, 0, 1]
    assert world.loads == 1
    world.close("j1")
    x3, y3 = vtx("x3", value=1), vtx("y3", value=2)
    third = vtx("a3", x3, y3, value=99, seeds=("op",), content=content)
    assert world.solve(third, "j2") == 3
    assert runs(third, x3, y3) == [0, 1, 1]


def test_a_fast_match_above_spares_the_content_below(world: World) -> None:
    """A content rule with selector in the middle of a chain is not computed when the top is found by definition."""
    for job in ("j0", "j1"):
        low = vtx("low", value=1)
        middle = vtx("middle", low, content={0: by_content}, selectors={0: sha("sel")})
        top = vtx("top", middle)
        assert world.solve(top, job) == 1
        world.close(job)
    assert runs(low, middle, top) == [0, 0, 0]
    assert op_of(middle).hashes == 0
    assert world.loads == 1


def test_content_is_not_hashed_before_unmatched_inputs_are_slow(world: World) -> None:
    """moby/buildkit#648: v2 matched and is only loaded if it must be."""
    for leaf, job in (("leaf", "j0"), ("leaf-new", "j1")):
        v3 = vtx(leaf, value=3)
        v1 = vtx(f"v1 of {leaf}", v3, value=1, seeds=("v1",), content={0: by_content})
        v2 = vtx("v2", value=2)
        v0 = vtx(f"v0 of {leaf}", v1, v2, seeds=("v0",), content={1: by_content})
        main = vtx(f"main of {leaf}", v0, seeds=("main",))
        assert world.solve(main, job) == 6
        world.close(job)
    assert runs(v3, v1, v2, v0, main) == [1, 0, 0, 0, 0]
    assert world.loads == 1


def test_an_error_of_a_content_hash_ends_the_build(world: World) -> None:
    """`COPY` of a missing file."""

    def missing(_: object) -> str:
        raise AssertionError("not called: the world fails it")

    vertex = vtx("a", vtx("x", value=1), content={0: missing}, hold=frozenset({"hash"}))
    request = world.build(vertex, "j0")
    world.run()
    world.fail_held("a", RuntimeError("not found"))
    world.run()
    with pytest.raises(RuntimeError, match="not found"):
        world.value(request)


# --- selectors


def test_selectors_keep_keys_apart(world: World) -> None:
    """Another selector is another link; without one there is no match either."""
    for name, selectors, job in (
        ("a", {0: sha("one")}, "j0"),
        ("b", {0: sha("one")}, "j1"),
        ("c", {0: sha("two")}, "j2"),
        ("d", {}, "j3"),
    ):
        vertex = vtx(name, vtx("x", value=1), seeds=("op",), selectors=selectors)
        world.solve(vertex, job)
        assert runs(vertex) == [0 if name == "b" else 1]
        world.close(job)


def test_selectors_do_not_matter_for_content(world: World) -> None:
    """The content key carries no selector."""
    for name, selector, job in (("a", "one", "j0"), ("b", "two", "j1")):
        vertex = vtx(name, vtx(f"x of {name}", value=1), seeds=("op",), selectors={0: sha(selector)}, content={0: by_content})
        world.solve(vertex, job)
        assert runs(vertex) == [1 if name == "a" else 0]
        world.close(job)


# --- several cache maps


def test_any_of_several_cache_maps_may_match(world: World) -> None:
    """Results are stored under all; a match of the first spares the rest."""
    world.solve(vtx("a", value=1, seeds=("s0", "s1", "s2")), "j0")
    world.close("j0")
    early, late = vtx("b", value=9, seeds=("s1", "s3")), vtx("c", value=9, seeds=("s4", "s2"))
    assert world.solve(early, "j1") == 1
    assert op_of(early).maps == 1
    world.close("j1")
    assert world.solve(late, "j2") == 1
    assert op_of(late).maps == 2


def test_a_second_cache_map_of_an_input_matches_the_vertex_above(world: World) -> None:
    """An image whose tag moved but whose layers did not."""
    world.solve(vtx("a", vtx("x", value=1, seeds=("tag", "layers")), value=1, seeds=("op",)), "j0")
    world.close("j0")
    again = vtx("b", vtx("y", value=9, seeds=("tag2", "layers")), value=9, seeds=("op",))
    assert world.solve(again, "j1") == 2
    assert runs(again) == [0]


# --- ignoring the cache


def test_ignored_caches_are_run_and_saved(world: World) -> None:
    """And a vertex above runs again unless content says otherwise."""
    world.solve(vtx("top", vtx("low", value=1)), "j0")
    world.close("j0")
    low, top = vtx("low", value=10, ignore_cache=True), None
    top = vtx("top", low, ignore_cache=True)
    assert world.solve(top, "j1") == 10
    world.close("j1")
    low = vtx("low", value=20, ignore_cache=True)
    top = vtx("top", low)
    assert world.solve(top, "j2") == 20
    assert runs(low, top) == [1, 1]


def test_the_cache_is_met_again_above_an_ignored_one_by_content(world: World) -> None:
    """The input is made anew; its content is as before."""
    world.solve(vtx("top", vtx("low", value=1), value=1, seeds=("op",), content={0: by_content}), "j0")
    world.close("j0")
    low = vtx("low2", value=1, ignore_cache=True)
    top = vtx("top2", low, value=99, seeds=("op",), content={0: by_content})
    assert world.solve(top, "j1") == 2
    assert runs(low, top) == [1, 0]


def test_with_and_without_cache_at_the_same_time(world: World) -> None:
    """An ignoring vertex never follows one that doesn't, the reverse is fine; ignoring ones follow each other."""
    assert world.solve(vtx("v", value=1), "j0") == 1
    assert world.solve(vtx("v", value=2, seeds=("w",), ignore_cache=True), "j1") == 2
    world.close("j0", "j1")
    assert world.solve(vtx("a", value=3, seeds=("s",)), "j2") == 3
    assert world.solve(vtx("b", value=4, seeds=("s",), ignore_cache=True), "j3") == 4
    assert world.solve(vtx("c", value=5, seeds=("s",), ignore_cache=True), "j4") == 4
    assert world.solve(vtx("d", value=6, seeds=("s",)), "j5") == 4


# --- merging


def test_merged_edges_inside_one_build(world: World) -> None:
    """moby/buildkit#434: equal parts in different places."""

    def part(where: str) -> Vertex:
        return vtx(f"part {where}", vtx(f"two {where}", value=2, seeds=("const 2",)), value=2, seeds=("sum 2",))

    left = vtx("left", part("left"), vtx("zero", value=0))
    top = vtx("top", left, part("right"), value=3)
    assert world.solve(top, "j0") == 11


def test_outputs_of_two_equal_vertices_do_not_follow_in_a_circle(world: World) -> None:
    """va[1]→vb[1] and vb[0]→va[0] would wait for each other."""

    def pair(name: str) -> Vertex:
        return vtx(name, vtx("three", value=3), vtx("four", value=4), value=2, outputs=2, seeds=("pair",))

    a, b = pair("a"), pair("b")
    top = vtx("top", Output(a, 1), Output(b, 0), Output(a, 0), Output(b, 1), value=1)
    assert world.solve(top, "j0") == 37
    assert sum(runs(a, b)) in (1, 2)


def test_a_vertex_may_follow_several_owners_without_a_circle(world: World) -> None:
    """Three equal vertices with three outputs each."""

    def triple(name: str) -> Vertex:
        return vtx(name, vtx("three", value=3), value=0, outputs=3, seeds=("triple",))

    a, b, c = triple("a"), triple("b"), triple("c")
    wanted = [Output(b, 0), Output(a, 0), Output(c, 1), Output(a, 1), Output(a, 2), Output(b, 2)]
    assert world.solve(vtx("top", *wanted, value=1), "j0") == 19


def test_a_merged_edge_lives_as_long_as_somebody_follows_it(world: World) -> None:
    """The owner's job goes first; a third job still finds it, and nothing is left at the end."""

    def graph(name: str) -> Vertex:
        return vtx(name, vtx(f"dep of {name}", value=1, seeds=("dep",)), value=2, seeds=("op",))

    first, second, third = graph("a"), graph("b"), graph("c")
    assert world.solve(first, "j0") == 3
    assert world.solve(second, "j1") == 3
    assert {first.digest, second.digest} <= world.scheduler.graph.states.keys()
    world.close("j0")
    assert first.digest in world.scheduler.graph.states
    assert world.solve(third, "j2") == 3
    world.close("j1")
    assert second.digest not in world.scheduler.graph.states
    assert first.digest in world.scheduler.graph.states
    assert runs(second, third) == [0, 0]
    world.close("j2")
    assert world.scheduler.graph.states == {}


def test_a_vertex_is_not_merged_with_what_it_depends_on(world: World) -> None:
    """Equal keys all the way down would be a circle."""
    low = vtx("low", value=1, seeds=("same",))
    assert world.solve(vtx("high", low, value=1, seeds=("same",)), "j0") == 2


def test_inputs_whose_links_lead_to_different_targets_are_no_match(world: World) -> None:
    """Each input alone leads to a stored result, but not to the same one (and nobody waits forever)."""
    world.solve(vtx("a", vtx("x1", value=1), vtx("y1", value=2), seeds=("op",)), "j0")
    world.close("j0")
    world.solve(vtx("b", vtx("x2", value=3), vtx("y2", value=4), seeds=("op",)), "j1")
    world.close("j1")
    mixed = vtx("c", vtx("x1", value=1), vtx("y2", value=4), seeds=("op",), content={1: by_content})
    assert world.solve(mixed, "j2") == 5
    assert runs(mixed) == [1]


@pytest.mark.parametrize("warm", [False, True])
def test_a_complete_input_still_tells_its_key(world: World, warm: bool) -> None:
    """moby/buildkit#4674: a base held alive by another build, complete, must let a later vertex hit the cache."""
    if warm:
        world.solve(vtx("base", value=1), "j0")
        world.close("j0")
    world.solve(vtx("step", vtx("base", value=1), seeds=("step",)), "j1")
    world.solve(vtx("base", value=1), "j2")
    world.close("j1")
    again = vtx("other step", vtx("base", value=1), value=9, seeds=("step",))
    assert world.solve(again, "j3") == 1
    assert runs(again) == [0]


# --- loading


def test_a_load_that_fails_is_a_miss(world: World) -> None:
    """Every record that can't be loaded is tried once, then the op runs."""

    def graph(prefix: str) -> list[Vertex]:
        low = vtx(f"{prefix} low", value=1, seeds=("low",))
        middle = vtx(f"{prefix} middle", low, value=10, seeds=("middle",))
        return [low, middle, vtx(f"{prefix} top", middle, value=100, seeds=("top",))]

    assert world.solve(graph("a")[-1], "j0") == 111
    world.close("j0")
    world.fail_loads = {1: None, 11: None, 111: None}
    again = graph("b")
    assert world.solve(again[-1], "j1") == 111
    assert runs(*again) == [1, 1, 1]
    assert world.loads == 3


def test_the_newest_record_is_loaded(world: World) -> None:
    """Several results of one key."""
    world.solve(vtx("a", value=1, seeds=("s",)), "j0")
    world.close("j0")
    world.solve(vtx("b", value=2, seeds=("s",), ignore_cache=True), "j1")
    world.close("j1")
    assert world.solve(vtx("c", value=3, seeds=("s",)), "j2") == 2


# --- sub-solves


def test_an_op_may_solve_another_graph_while_it_runs(world: World) -> None:
    """Its result is the op's; the second time nothing runs."""
    for job in ("j0", "j1"):
        inner = vtx("inner", value=7)
        outer = vtx("outer", nested=Output(inner))
        top = vtx("top", outer, value=1)
        assert world.solve(top, job) == 8
        world.close(job)
    assert runs(inner, outer, top) == [0, 0, 0]


def test_a_sub_solve_belongs_to_the_jobs_of_its_op(world: World) -> None:
    """The job hears of the inner vertex, and its failure is the op's."""
    inner = vtx("inner", run_error="boom")
    outer = vtx("outer", nested=Output(inner))
    with pytest.raises(RuntimeError, match="boom"):
        world.solve(outer, "j0")
    assert ("j0", "inner") in world.heard


# --- lost results


def test_lost_inputs_are_made_again_and_the_call_repeated(world: World) -> None:
    """Only the input runs a second time."""
    low = vtx("low", value=1)
    top = vtx("top", low, value=10, hold=frozenset({"run"}))
    request = world.build(top, "j0")
    world.run()
    (call,) = world.take_held("top")
    world.index.drop(1)
    world.send(InputsLost(call=call, inputs=(0,), error=RuntimeError("lost")))
    world.let("top")
    world.run()
    assert world.value(request) == 11
    assert runs(low, top) == [2, 1]


def test_a_lost_input_that_can_not_be_made_again_fails_the_call(world: World) -> None:
    """With the error of the input."""
    low = vtx("low", value=1)
    top = vtx("top", low, value=10, hold=frozenset({"run"}))
    request = world.build(top, "j0")
    world.run()
    (call,) = world.take_held("top")
    world.index.drop(1)
    op_of(low).run_error = "boom"
    world.send(InputsLost(call=call, inputs=(0,), error=RuntimeError("lost")))
    world.run()
    with pytest.raises(RuntimeError, match="boom"):
        world.value(request)


def test_inputs_that_are_lost_again_and_again_end_the_call(world: World) -> None:
    """After some attempts the error stands."""
    top = vtx("top", vtx("low", value=1), value=10, hold=frozenset({"run"}))
    request = world.build(top, "j0")
    world.run()
    for _ in range(20):
        held = world.take_held("top")
        if not held:
            break
        world.index.drop(1)
        world.send(InputsLost(call=held[0], inputs=(0,), error=RuntimeError("lost")))
        world.run()
    with pytest.raises(RuntimeError, match="lost"):
        world.value(request)


def test_cancel_while_lost_inputs_are_being_made_again(world: World) -> None:
    """Nothing hangs, nothing is left."""
    low = vtx("low", value=1)
    top = vtx("top", low, value=10, hold=frozenset({"run"}))
    request = world.build(top, "j0")
    world.run()
    (call,) = world.take_held("top")
    world.index.drop(1)
    op_of(low).hold = frozenset({"run"})
    world.send(InputsLost(call=call, inputs=(0,), error=RuntimeError("lost")))
    world.run()
    world.cancel(request)
    world.run()
    assert request in world.results


def test_a_lost_result_of_a_build_is_made_again_on_demand(world: World) -> None:
    """An exporter found it gone."""
    vertex = vtx("v", value=1)
    request = world.build(vertex, "j0")
    world.run()
    output = world.results[request].output
    world.index.drop(1)
    world.send(ResultLost(output=output, value=1))
    assert world.solve(vertex, "j0") == 1
    assert runs(vertex) == [2]


# --- what builds hear


def test_progress_of_a_run_and_of_a_hit(world: World) -> None:
    """Started and completed; cached when it was loaded. Cache maps of inner vertices are not shown."""
    for name, job in (("a", "j0"), ("b", "j1")):
        world.progress.clear()
        world.solve(vtx(name, vtx(f"source {name}", seeds=("source",)), seeds=("op",)), job)
        world.close(job)
        shown = [(p.vertex.name, p.completed, p.cached) for p in world.progress]
        source = [(f"source {name}", False, False), (f"source {name}", True, False)]
        expected = {
            "a": [*source, *source, ("a", False, False), ("a", True, False)],
            "b": [*source, ("b", False, True), ("b", True, True)],
        }
        assert shown == expected[name]


def test_a_late_job_hears_of_the_vertices_it_shares(world: World) -> None:
    """Each vertex is announced once to each job."""
    low = vtx("low")
    world.solve(vtx("a", low), "j0")
    world.solve(vtx("b", low), "j1")
    assert sorted(world.heard) == [("j0", "a"), ("j0", "low"), ("j1", "b"), ("j1", "low")]


def test_answers_for_calls_that_nobody_knows_are_ignored(world: World) -> None:
    """Deliveries may repeat."""
    world.send(Answered(call=999, value=None))
    assert world.scheduler.statistics() == EMPTY
    assert issubclass(Canceled, Exception)
