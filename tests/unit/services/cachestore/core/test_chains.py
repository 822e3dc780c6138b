"""What of the key graph may leave the fleet."""

from services.cachestore.core.chains import chain_of
from services.cachestore.core.key_graph import Dep, KeyGraph
from shared.model import CacheInput, Ref, sha256_digest

SOURCE, CONTENT, HASH = (str(sha256_digest(name)) for name in (b"source", b"content", b"op"))


def graph() -> KeyGraph:
    """`run` follows from a source; `copy` from `run` and from content that a session-local key led to as well."""
    made = KeyGraph()
    made.add_result("run", Ref(id="r1", home="e"), 1)
    made.link_inputs("run", [[Dep(SOURCE)]], HASH, 0)
    made.add_result("copy", Ref(id="r2", home="e"), 2)
    made.link_inputs("copy", [[Dep("run")], [Dep("random:x", "sel"), Dep(CONTENT)]], HASH, 0)
    return made


def test_a_chain_names_inputs_before_what_follows_from_them() -> None:
    """Session-local names stay at home; others of the same input go along."""
    found = chain_of(graph(), ["copy"])
    ids = [id for id, _ in found]
    entries = dict(found)
    assert ids[-1] == "copy" and set(ids) == {SOURCE, CONTENT, "run", "copy"}
    assert entries[SOURCE].digest == SOURCE
    assert entries["run"].inputs == ((CacheInput(entry=ids.index(SOURCE)),),)
    assert entries["copy"].inputs == ((CacheInput(entry=ids.index("run")),), (CacheInput(entry=ids.index(CONTENT)),))


def test_a_key_that_only_a_session_can_reach_stays_at_home() -> None:
    """And so does what follows from nothing else."""
    made = KeyGraph()
    made.add_result("local", Ref(id="r1", home="e"), 1)
    made.link_inputs("local", [[Dep("random:x")]], HASH, 0)
    made.add_result("above", Ref(id="r2", home="e"), 2)
    made.link_inputs("above", [[Dep("local")]], HASH, 0)
    assert chain_of(made, ["above"]) == []


def test_circles_end() -> None:
    """An op whose output has the content of its input."""
    made = KeyGraph()
    made.add_result("again", Ref(id="r", home="e"), 1)
    made.link_inputs("again", [[Dep(CONTENT), Dep("again")]], HASH, 0)
    assert [id for id, _ in chain_of(made, ["again", "nobody"])] == [CONTENT, "again"]
