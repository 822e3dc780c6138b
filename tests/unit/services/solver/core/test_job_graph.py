"""Living vertices: shared by digest, held by jobs and running ops, gone with the last of them."""

import itertools
import random

import pytest

from services.solver.core.edge import Edge
from services.solver.core.effects import Effect
from services.solver.core.job_graph import JobGraph, VertexState, actual, depends_on, in_order, without_cache
from services.solver.core.pipe import Pipe
from services.solver.core.result import Ledger, SharedResult
from services.solver.core.shared_op import FlightKey, SharedOp
from services.solver.core.vertex import Output, Vertex, VertexOptions


class Host:
    """What the scheduler would do, noted."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.told: list[tuple[str, str]] = []
        self.dropped: list[Edge] = []
        self.gone: list[str] = []
        self.effects: list[Effect] = []

    def new_op(self, vertex: Vertex) -> SharedOp:
        return SharedOp(vertex, self)

    def announce(self, job: str, vertex: Vertex) -> None:
        self.told.append((job, vertex.name))

    def drop_edge(self, edge: Edge) -> None:
        self.dropped.append(edge)

    def forgotten(self, state: VertexState) -> None:
        self.gone.append(state.vertex.name)

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    def open_call(self, op: SharedOp, key: FlightKey) -> int:
        return 1

    def deliver(self, pipe: Pipe, value: object, error: BaseException | None) -> None: ...

    def deliver_run(self, pipe: Pipe, results: list[SharedResult]) -> None: ...


def vertex(name: str, *inputs: Vertex, ignore_cache: bool = False) -> Vertex:
    return Vertex(f"sha256:{name}", name, tuple(map(Output, inputs)), VertexOptions(ignore_cache=ignore_cache))


def chain(*names: str) -> Vertex:
    """The last name is the top."""
    made = vertex(names[0])
    for name in names[1:]:
        made = vertex(name, made)
    return made


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def graph(host: Host) -> JobGraph:
    return JobGraph(host)


def edge(graph: JobGraph, output: Output) -> Edge:
    found = graph.edge(output)
    assert found is not None
    return found


def test_equal_vertices_of_two_jobs_are_one(graph: JobGraph, host: Host) -> None:
    one, two = graph.load(Output(chain("a", "b")), job="one"), graph.load(Output(chain("a", "b")), job="two")

    assert one.vertex is two.vertex and edge(graph, one) is edge(graph, two)
    assert graph.jobs_of("sha256:a") == ["one", "two"]
    assert host.told == [("one", "a"), ("one", "b"), ("two", "a"), ("two", "b")]


def test_a_vertex_goes_with_its_last_job(graph: JobGraph, host: Host) -> None:
    graph.load(Output(chain("a", "b")), job="one")
    graph.load(Output(chain("a", "c")), job="two")
    graph.close_job("one")
    assert (host.gone, sorted(graph.states)) == (["b"], ["sha256:a", "sha256:c"])

    graph.close_job("two")
    graph.close_job("two")
    assert (sorted(host.gone), graph.states) == (["a", "b", "c"], {})


def test_each_job_hears_of_a_vertex_once(graph: JobGraph, host: Host) -> None:
    for _ in range(2):
        graph.load(Output(chain("a")), job="one")

    assert host.told == [("one", "a")]


def test_what_an_op_solves_below_it_lives_as_long_as_the_op(graph: JobGraph, host: Host) -> None:
    parent = graph.load(Output(vertex("build")), job="one").vertex
    inner = graph.load(Output(chain("a", "b")), parent=parent.digest)
    assert graph.jobs_of(inner.vertex.digest) == ["one"]
    graph.load(Output(vertex("build")), job="two")
    assert graph.jobs_of(inner.vertex.digest) == ["one", "two"]

    graph.close_job("one")
    assert host.gone == []
    graph.close_job("two")
    assert sorted(host.gone) == ["a", "b", "build"]


def test_a_parent_must_be_alive(graph: JobGraph) -> None:
    with pytest.raises(LookupError, match="inactive parent sha256:x"):
        graph.load(Output(vertex("a")), parent="sha256:x")


def test_no_cache_lives_beside_an_equal_one(graph: JobGraph) -> None:
    """And whoever comes later shares the fresher one."""
    plain = graph.load(Output(vertex("a")), job="one").vertex
    fresh = graph.load(Output(vertex("a", ignore_cache=True)), job="two").vertex
    later = graph.load(Output(vertex("a")), job="three").vertex

    assert (plain.digest, fresh.digest) == ("sha256:a", without_cache("sha256:a"))
    assert later is fresh and fresh.client_digest == "sha256:a"


def test_where_none_uses_the_cache_the_first_is_shared(graph: JobGraph) -> None:
    first = graph.load(Output(vertex("a", ignore_cache=True)), job="one").vertex

    assert graph.load(Output(vertex("a")), job="two").vertex is first


def test_heights_and_dependence(graph: JobGraph) -> None:
    bottom = vertex("a")
    top = graph.load(Output(vertex("d", vertex("b", bottom), vertex("c", vertex("b", bottom)))), job="j").vertex
    alive = {v.name: v for v in in_order(top)}

    assert {name: v.height for name, v in alive.items()} == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert depends_on(top, alive["a"]) and depends_on(top, top)
    assert not depends_on(alive["a"], top) and not depends_on(alive["b"], alive["c"])


def test_inputs_come_first_and_depth_costs_no_stack() -> None:
    names = [str(number) for number in range(5000)]

    assert [v.name for v in in_order(chain(*names))] == names


def test_no_edge_of_what_is_not_alive(graph: JobGraph) -> None:
    output = graph.load(Output(vertex("a")), job="j")
    graph.close_job("j")

    assert graph.edge(output) is None


def test_a_merged_edge_is_held_by_both_jobs(graph: JobGraph, host: Host) -> None:
    """The job of the one that follows holds the other's vertex and its inputs, and outlives its first owner."""
    one = graph.load(Output(chain("x", "one")), job="one")
    two = graph.load(Output(chain("y", "two")), job="two")
    src, target = edge(graph, two), edge(graph, one)
    graph.follow(src, target)
    assert (edge(graph, two), actual(src), host.dropped) == (target, target, [src])
    assert graph.jobs_of("sha256:x") == ["one", "two"]
    assert graph.owned_by(src, target) and not graph.owned_by(target, src)

    graph.close_job("one")
    assert host.gone == [] and edge(graph, two) is target
    graph.close_job("two")
    assert graph.states == {} and target in host.dropped


def test_a_lost_edge_is_replaced_for_its_followers_too(graph: JobGraph, host: Host) -> None:
    one, two = graph.load(Output(vertex("one")), job="j"), graph.load(Output(vertex("two")), job="j")
    lost = edge(graph, one)
    graph.follow(edge(graph, two), lost)
    fresh = graph.replace(lost)

    assert fresh is not lost and edge(graph, one) is edge(graph, two) is fresh
    assert lost in host.dropped and fresh.extra_owners == 1


@pytest.mark.parametrize("first", [True, False], ids=["before the other", "after the other"])
@pytest.mark.parametrize("ignore_cache", [True, False])
def test_all_below_an_output(graph: JobGraph, ignore_cache: bool, first: bool) -> None:
    """As a definition has it or over living vertices: of two equal vertices the one that was scheduled for it."""
    asked = Output(vertex("b", vertex("a", ignore_cache=ignore_cache)))
    if not first:
        graph.load(Output(vertex("a", ignore_cache=not ignore_cache)), job="other")
    living = graph.load(asked, job="j")
    if first:
        graph.load(Output(vertex("a", ignore_cache=not ignore_cache)), job="other")
    scheduled = living.vertex.inputs[0].vertex.digest

    for output in (asked, living):
        assert [s.vertex.digest for s in graph.below(output)] == [scheduled, "sha256:b"]


def test_nothing_is_below_what_is_not_alive(graph: JobGraph) -> None:
    assert graph.below(Output(vertex("a"))) == []


@pytest.mark.parametrize("seed", range(20))
def test_any_jobs_leave_nothing(seed: int, graph: JobGraph, host: Host) -> None:
    """Random graphs of several jobs with merges between them, closed in any order."""
    rng = random.Random(seed)
    jobs = [f"j{n}" for n in range(4)]
    outputs: list[Output] = []
    for job in jobs:
        made = [vertex(str(n)) for n in range(2)]
        for number in range(2, 8):
            made.append(vertex(f"{number}-{rng.randrange(2)}", *rng.sample(made, rng.randrange(1, 3))))
        outputs.append(graph.load(Output(made[-1]), job=job))
    for src, target in itertools.pairwise(outputs):
        first, second = edge(graph, src), edge(graph, target)
        if first is not second and not depends_on(second.output.vertex, first.output.vertex) and not graph.owned_by(second, first):
            graph.follow(first, second)
    rng.shuffle(jobs)
    for job in jobs:
        graph.close_job(job)

    assert graph.states == {}
