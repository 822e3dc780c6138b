"""The key graph: what leads where, what is forgotten, what is persisted."""

import hashlib
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from services.cachestore.core.key_graph import MAX_RANDOM_ROOTS, Dep, Found, KeyGraph, Link, LinkRow, ResultRow, root_id
from shared.model import Digest, Layer, Ref


def dgst(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def ref(name: str) -> Ref:
    return Ref(id=name, home="e1")


def save(graph: KeyGraph, deps: list[list[Dep]], digest: str, output: int, result: str, at: int = 0) -> str:
    """As the service does: find the id, add the result, link."""
    key = graph.combined_id(deps, digest, output) if deps else root_id(digest, output)
    graph.add_result(key, ref(result), at)
    graph.link_inputs(key, deps, digest, output)
    return key


def reach(graph: KeyGraph, key: str, digest: str, input: int = 0, output: int = 0, selector: str = "") -> list[str]:
    return [found.id for found in graph.query([Dep(key, selector)], input, digest, output)]


def results(graph: KeyGraph, key: str) -> set[str]:
    return {row.id for row in graph.records(key)}


def test_the_id_of_a_root_is_buildkits() -> None:
    assert root_id(dgst("foo"), 3) == "sha256:" + hashlib.sha256(f"{dgst('foo')}@3".encode()).hexdigest()
    assert root_id("random:abc", 0) == "random:abc"


def test_a_root_is_found_once_it_has_a_result() -> None:
    graph = KeyGraph()
    before = graph.query([], 0, dgst("foo"), 0)
    key = save(graph, [], dgst("foo"), 0, "r0")

    assert before == []
    assert graph.query([], 0, dgst("foo"), 0) == [Found(key, -1, True)]
    assert graph.query([], 0, dgst("foo"), 1) == []
    assert results(graph, key) == {"r0"}


def test_a_key_is_found_from_each_input_by_input_output_and_digest() -> None:
    graph = KeyGraph()
    foo, bar = save(graph, [], dgst("foo"), 0, "r0"), save(graph, [], dgst("bar"), 0, "r1")
    baz = save(graph, [[Dep(foo)], [Dep(bar)]], dgst("baz"), 1, "r2")

    assert graph.query([], 0, dgst("baz"), 0) == []
    assert reach(graph, foo, dgst("baz"), 0, 0) == []
    assert reach(graph, foo, dgst("baz"), 1, 1) == []
    assert reach(graph, foo, dgst("baz"), 0, 1) == [baz]
    assert reach(graph, bar, dgst("baz"), 1, 1) == [baz]


def test_the_same_inputs_again_lead_to_the_same_key_with_one_more_result() -> None:
    graph = KeyGraph()
    foo = save(graph, [], dgst("foo"), 0, "r0")
    first = save(graph, [[Dep(foo)]], dgst("baz"), 0, "r1", at=1)
    second = save(graph, [[Dep(foo)]], dgst("baz"), 0, "r2", at=2)

    assert first == second
    assert [row.id for row in graph.records(first)] == ["r2", "r1"]
    best = graph.best(first)
    assert best is not None
    assert best.id == "r2"


def test_every_alternative_of_an_input_leads_to_the_result() -> None:
    graph = KeyGraph()
    foo, bar, baz = (save(graph, [], dgst(name), 0, name) for name in ("foo", "bar", "baz"))
    key = save(graph, [[Dep(foo), Dep(baz)], [Dep(bar)]], dgst("bax"), 0, "r")

    assert reach(graph, foo, dgst("bax"), 0) == reach(graph, baz, dgst("bax"), 0) == reach(graph, bar, dgst("bax"), 1) == [key]


def test_different_combinations_are_different_keys() -> None:
    graph = KeyGraph()
    a, b, c = (save(graph, [], dgst(name), 0, name) for name in "abc")
    one = save(graph, [[Dep(a)], [Dep(b)]], dgst("op"), 0, "r1")
    two = save(graph, [[Dep(a)], [Dep(c)]], dgst("op"), 0, "r2")

    assert one != two
    assert set(reach(graph, a, dgst("op"), 0)) == {one, two}
    assert reach(graph, b, dgst("op"), 1) == [one]


def test_selectors_keep_apart() -> None:
    graph = KeyGraph()
    foo, second = save(graph, [], dgst("foo"), 0, "r0"), root_id(dgst("second"), 0)
    bar = save(graph, [[Dep(foo, dgst("sel0")), Dep(second)]], dgst("bar"), 0, "r1")

    assert reach(graph, foo, dgst("bar")) == []
    assert reach(graph, foo, dgst("bar"), selector=dgst("bar")) == []
    assert reach(graph, foo, dgst("bar"), selector=dgst("sel0")) == [bar]
    assert reach(graph, second, dgst("bar")) == [bar]


def test_alternatives_asked_for_together_are_linked_to_what_one_of_them_finds() -> None:
    """The slow key found it: next time the fast key does."""
    graph = KeyGraph()
    foo, bar = save(graph, [], dgst("foo"), 0, "rf"), save(graph, [], dgst("bar"), 0, "rb")
    content = root_id(dgst("content0"), 0)
    res = save(graph, [[Dep(foo, dgst("sel0")), Dep(content)]], dgst("res"), 0, "r0")

    found = graph.query([Dep(bar, dgst("sel0")), Dep(content)], 0, dgst("res"), 0)

    assert found == [Found(res, 1, True)]
    assert reach(graph, bar, dgst("res"), selector=dgst("sel0")) == [res]


def test_releasing_a_result_keeps_a_key_that_leads_on_and_then_takes_the_branch() -> None:
    graph = KeyGraph()
    foo = save(graph, [], dgst("foo"), 0, "r0")
    bar = save(graph, [[Dep(foo)]], dgst("bar"), 0, "r1")

    assert graph.release("r0")
    assert graph.query([], 0, dgst("foo"), 0) == [Found(foo, -1, False)]
    assert reach(graph, foo, dgst("bar")) == [bar]

    assert graph.release("r1")
    assert graph.query([], 0, dgst("foo"), 0) == []
    assert graph.statistics() == {"keys": 0, "records": 0, "random_roots": 0, "bytes": 0}
    assert not graph.release("r1")


def test_a_result_under_two_keys_goes_from_both() -> None:
    graph = KeyGraph()
    a, b = root_id(dgst("a"), 0), root_id(dgst("b"), 0)
    graph.add_result(a, ref("same"), 1)
    graph.add_result(b, ref("same"), 2)

    graph.release("same")

    assert (graph.records(a), graph.records(b), graph.statistics()["keys"]) == ([], [], 0)


def test_scratch_is_a_result_like_others() -> None:
    graph = KeyGraph()
    key = root_id(dgst("a"), 0)

    assert graph.add_result(key, None, 5) == "scratch"
    assert graph.records(key) == [ResultRow(key, "scratch", 5, None)]


def test_a_ref_that_is_better_known_later_replaces_itself_everywhere() -> None:
    graph = KeyGraph()
    keys = [root_id(dgst(name), 0) for name in "ab"]
    for key in keys:
        graph.add_result(key, ref("r"), 1)
    graph.take_changes()
    moved = Ref(id="r", home="e2")

    graph.add_result(keys[0], moved, 9)

    assert [graph.records(key)[0].ref for key in keys] == [moved, moved]
    added, removed = graph.take_changes()
    assert {row for row in added if isinstance(row, ResultRow)} == {ResultRow(key, "r", 1, moved) for key in keys}
    assert {row for row in removed if isinstance(row, ResultRow)} == {ResultRow(key, "r", 1, ref("r")) for key in keys}


def test_backlinks_tell_how_a_key_is_reached() -> None:
    graph = KeyGraph()
    foo = save(graph, [], dgst("foo"), 0, "r0")
    bar = save(graph, [[Dep(foo, "s")]], dgst("bar"), 2, "r1")

    assert graph.backlinks(bar) == [(foo, Link(0, 2, dgst("bar"), "s"))]
    assert graph.backlinks(foo) == []


def test_a_key_never_leads_to_itself() -> None:
    graph = KeyGraph()
    key = save(graph, [], dgst("foo"), 0, "r0")

    graph.link_inputs(key, [[Dep(key)]], dgst("foo"), 0)

    assert reach(graph, key, dgst("foo")) == []


def test_random_roots_work_but_are_not_persisted() -> None:
    graph = KeyGraph()
    content = root_id(dgst("content"), 0)
    key = save(graph, [[Dep("random:1"), Dep(content)]], dgst("copy"), 0, "r")

    assert reach(graph, "random:1", dgst("copy")) == [key]
    added, _ = graph.take_changes()
    assert {row.source for row in added if isinstance(row, LinkRow)} == {content}


def test_the_oldest_random_roots_are_forgotten() -> None:
    graph = KeyGraph()
    key = root_id(dgst("target"), 0)
    graph.add_result(key, ref("r"), 0)
    for i in range(MAX_RANDOM_ROOTS + 10):
        graph.link_inputs(key, [[Dep(f"random:{i}")]], dgst("op"), 0)

    assert graph.statistics()["random_roots"] == MAX_RANDOM_ROOTS
    assert reach(graph, "random:0", dgst("op")) == []
    assert reach(graph, f"random:{MAX_RANDOM_ROOTS + 9}", dgst("op")) == [key]


def test_changes_that_could_not_be_written_come_again_unless_undone() -> None:
    graph = KeyGraph()
    save(graph, [], dgst("a"), 0, "r")
    added, removed = graph.take_changes()
    graph.return_changes(added, removed)
    assert graph.take_changes() == (added, removed)

    graph.release("r")
    graph.return_changes(added, removed)
    assert graph.take_changes()[0] == []


Step = tuple[str, int, int]
steps = st.lists(st.tuples(st.sampled_from(["save", "child", "query", "release"]), st.integers(0, 5), st.integers(0, 5)), max_size=40)


def run(graph: KeyGraph, script: list[Step]) -> None:
    keys = [root_id(dgst(str(i)), 0) for i in range(6)]
    for verb, i, j in script:
        match verb:
            case "save":
                graph.add_result(keys[i], ref(f"r{j}"), i)
            case "child":
                keys.append(save(graph, [[Dep(keys[i % len(keys)]), Dep(keys[j % len(keys)])]], dgst(f"op{i}"), 0, f"c{i}{j}"))
            case "query":
                graph.query([Dep(keys[i % len(keys)]), Dep(keys[j % len(keys)])], 0, dgst(f"op{j}"), 0)
            case "release":
                graph.release(f"r{j}")
                graph.release(f"c{i}{j}")


@given(steps)
@settings(max_examples=150, deadline=None)
def test_what_is_written_behind_is_the_graph(script: list[Step]) -> None:
    """The rows that a store ends up with, read again, answer as the graph itself does."""
    graph, rows = KeyGraph(), {}
    for step in script:
        run(graph, [step])
        added, removed = graph.take_changes()
        assert not set(added) & set(removed)
        for row in removed:
            rows.pop(row, None)
        rows.update(dict.fromkeys(added))

    assert set(graph.rows()) == set(rows)
    again = KeyGraph()
    again.restore(rows)

    assert set(again.walk()) == set(graph.walk())
    for key in graph.walk():
        assert again.records(key) == graph.records(key)
        assert sorted(again.backlinks(key), key=str) == sorted(graph.backlinks(key), key=str)


@given(steps)
@settings(max_examples=150, deadline=None)
def test_nothing_unreachable_is_kept_and_all_can_be_released(script: list[Step]) -> None:
    graph = KeyGraph()
    run(graph, script)

    for key in graph.walk():
        assert graph.exists(key)
    for result in graph.refs():
        graph.release(result)
    assert graph.statistics() == {"keys": 0, "records": 0, "random_roots": 0, "bytes": 0}


LAYER = Layer(digest=Digest(dgst("layer")), diff_id=Digest(dgst("diff")), size=1, media_type="application/x")


def test_published_layers_stay_with_a_result() -> None:
    """Whether they are heard of before the result or after it, and whoever stores it again without them."""
    graph = KeyGraph()
    published = replace(ref("r"), layers=(LAYER,))
    graph.publish(published)
    assert graph.layers_of("r") == (LAYER,)
    first = save(graph, [], dgst("a"), 0, "r")
    save(graph, [], dgst("b"), 0, "later")
    graph.publish(replace(ref("later"), layers=(LAYER,)))
    second = save(graph, [], dgst("c"), 0, "later")

    assert graph.records(first)[0].ref == published
    assert graph.records(second)[0].ref == replace(ref("later"), layers=(LAYER,))
    assert graph.layers_of("unknown") == ()
    kept = KeyGraph()
    kept.restore(graph.rows())
    assert kept.layers_of("r") == kept.layers_of("later") == (LAYER,)
    graph.release("r")
    assert graph.layers_of("r") == ()


def test_published_layers_are_not_replaced_by_others() -> None:
    """Whoever may tell of layers can't put them under a result that has its own, be it stored or not."""
    graph = KeyGraph()
    other = replace(LAYER, digest=dgst("other"))
    key = save(graph, [], dgst("a"), 0, "r")
    for id in ("r", "unsaved"):
        graph.publish(replace(ref(id), layers=(LAYER,)))
        graph.publish(replace(ref(id), layers=(other,)))

    assert graph.layers_of("r") == graph.layers_of("unsaved") == (LAYER,)
    assert graph.records(key)[0].ref == replace(ref("r"), layers=(LAYER,))


def test_the_changes_of_a_publication_are_written_once() -> None:
    """The old row goes, the new one comes; another time nothing changes."""
    graph = KeyGraph()
    key = save(graph, [], dgst("a"), 0, "r")
    graph.take_changes()
    graph.publish(replace(ref("r"), layers=(LAYER,)))
    added, removed = graph.take_changes()
    assert [row.ref for row in added if isinstance(row, ResultRow)] == [replace(ref("r"), layers=(LAYER,))]
    assert removed == [ResultRow(key, "r", 0, ref("r"))]
    graph.publish(replace(ref("r"), layers=(LAYER,)))
    save(graph, [], dgst("a"), 0, "r")
    assert graph.take_changes() == ([], [])


def test_a_result_stays_that_of_who_had_it_made_first() -> None:
    """Whatever key it is found under later, and by whom; the empty result is nobody's."""
    graph = KeyGraph()
    first, second = root_id("a", 0), root_id("b", 0)

    graph.add_result(first, ref("r"), 1, "alice")
    graph.add_result(second, ref("r"), 2, "bob")
    graph.add_result(second, None, 3, "bob")

    assert [row.identity for row in graph.records(first)] == ["alice"]
    assert {row.id: row.identity for row in graph.records(second)} == {"r": "alice", "scratch": ""}


def test_identities_are_restored_and_forgotten_with_their_results() -> None:
    graph, key = KeyGraph(), root_id("a", 0)
    graph.add_result(key, ref("r"), 1, "alice")

    again = KeyGraph()
    again.restore(graph.rows())
    restored = [row.identity for row in again.records(key)]
    again.release("r")
    again.add_result(key, ref("r"), 2, "bob")

    assert (restored, [row.identity for row in again.records(key)]) == (["alice"], ["bob"])
