"""The graph of cache keys (semantics: solver/cachemanager.go and memorycachestorage.go of BuildKit).

A key is a root — sha256 of "<digest>@<output>", or `random:…` — or it stands for a combination of other keys: then it is the target
of links, one from each alternative key of each input: (input index, output index, cache-map digest, selector) → target. A key
may hold results. What nobody can reach any more, because neither results nor links hang on it, goes away with its parents.

Links from `random:` roots (local sources before their content is known) serve the running builds only: they are not
persisted, and the oldest go when there are too many.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from services.cachestore.core.kept_layers import KeptLayers
from shared.model import Layer, Ref

RANDOM = "random:"
MAX_RANDOM_ROOTS = 4096
MAX_PUBLISHED = 10_000


@dataclass(frozen=True, slots=True)
class Link:
    """How one key leads to another."""

    input: int
    output: int
    digest: str
    selector: str


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A link as it is stored."""

    source: str
    link: Link
    target: str


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A result as it is stored: `id` is the ref's id or `scratch`; `created_at` ns; `identity` of the client that had it made first."""

    key: str
    id: str
    created_at: int
    ref: Ref | None
    identity: str = ""


Row = LinkRow | ResultRow
SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class Dep:
    """An alternative key of an input."""

    key: str
    selector: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """An answer to `query`; `dep` = index of the dep it was found through, -1 = a root."""

    id: str
    dep: int
    has_records: bool


@dataclass(slots=True)
class _Node:
    links: dict[Link, dict[str, None]] = field(default_factory=dict)  # ordered sets
    sources: dict[str, None] = field(default_factory=dict)
    results: dict[str, int] = field(default_factory=dict)


def root_id(digest: str, output: int) -> str:
    """The id of a key without inputs."""
    if digest.startswith(RANDOM):
        return digest
    return "sha256:" + hashlib.sha256(f"{digest}@{output}".encode()).hexdigest()


class KeyGraph:
    """The whole graph in memory. `take_changes` hands over what has to be persisted since it was last asked."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._refs: dict[str, Ref | None] = {}
        self._layers = KeptLayers()
        self._keys_of: dict[str, dict[str, None]] = {}
        self._identities: dict[str, str] = {}  # by result: who had it made, where that is known
        self._random: OrderedDict[str, None] = OrderedDict()
        self._published: OrderedDict[str, tuple[Layer, ...]] = OrderedDict()
        self._added: dict[Row, None] = {}
        self._removed: dict[Row, None] = {}

    # --- questions

    def exists(self, key: str) -> bool:
        """A key that leads to something or has a result."""
        node = self._nodes.get(key)
        return node is not None and bool(node.links or node.results)

    def query(self, deps: Sequence[Dep], input: int, digest: str, output: int) -> list[Found]:
        """The keys of (digest, output) that follow from any of these alternative keys of input `input`; without deps: the root.

        All alternatives are then linked to all keys found: they are equivalent.
        """
        if not deps:
            root = root_id(digest, output)
            return [Found(root, -1, self.has_results(root))] if self.exists(root) else []
        reached: list[dict[str, None]] = []
        found: dict[str, int] = {}
        links = [Link(input, output, digest, dep.selector) for dep in deps]
        for i, dep in enumerate(deps):
            node = self._nodes.get(dep.key)
            targets = node.links.get(links[i], {}) if node is not None else {}
            reached.append(targets)
            for target in targets:
                found.setdefault(target, i)
        if len(deps) > 1:
            for i, dep in enumerate(deps):
                for target in [t for t in found if t not in reached[i]]:
                    self._link(dep.key, links[i], target)
        return [Found(target, i, self.has_results(target)) for target, i in found.items()]

    def has_results(self, key: str) -> bool:
        """Whether results are stored under the key."""
        node = self._nodes.get(key)
        return node is not None and bool(node.results)

    def records(self, key: str) -> list[ResultRow]:
        """The results of a key, the newest first."""
        node = self._nodes.get(key)
        if node is None:
            return []
        rows = [self._result(key, id) for id in node.results]
        return sorted(rows, key=lambda row: (-row.created_at, row.id))

    def best(self, key: str) -> ResultRow | None:
        """The newest result."""
        rows = self.records(key)
        return rows[0] if rows else None

    def backlinks(self, key: str) -> list[tuple[str, Link]]:
        """Which keys lead here, and how (for cache export)."""
        node = self._nodes.get(key)
        sources = node.sources if node is not None else {}
        return [(s, link) for s in sources for link, targets in self._nodes[s].links.items() if key in targets]

    def walk(self) -> Iterable[str]:
        """All key ids."""
        return list(self._nodes)

    def refs(self) -> dict[str, Ref | None]:
        """All results by id."""
        return dict(self._refs)

    def combined_id(self, deps: Sequence[Sequence[Dep]], digest: str, output: int) -> str:
        """The id of the key with these inputs: the one that every input already leads to, else a new one derived from them."""
        matches: dict[str, None] | None = None
        for i, alternatives in enumerate(deps):
            targets: dict[str, None] = {}
            for dep in alternatives:
                node = self._nodes.get(dep.key)
                if node is not None:
                    targets |= node.links.get(Link(i, output, digest, dep.selector), {})
            matches = targets if matches is None else {t: None for t in matches if t in targets}
            if not matches:
                break
        if matches:
            return next(iter(matches))
        parts = [digest, str(output)]
        parts += [f"{i}\0{dep.key}\0{dep.selector}" for i, alternatives in enumerate(deps) for dep in alternatives]
        return "key:" + hashlib.sha256("\n".join(parts).encode()).hexdigest()

    # --- orders

    def link_inputs(self, key: str, deps: Sequence[Sequence[Dep]], digest: str, output: int) -> None:
        """Make every alternative of every input lead to `key`."""
        for i, alternatives in enumerate(deps):
            for dep in alternatives:
                self._link(dep.key, Link(i, output, digest, dep.selector), key)

    def add_result(self, key: str, ref: Ref | None, created_at: int, identity: str = "") -> str:
        """Store a result; what is known of its layers is kept. Returns the record's id.

        A result stays that of the identity that had it made first; the empty one, which nobody makes, is nobody's.
        """
        id = ref.id if ref is not None else SCRATCH
        node = self._node(key)
        if ref is not None and not ref.layers:
            ref = replace(ref, layers=self.layers_of(id))
        if identity and id != SCRATCH and id not in self._refs:
            self._identities[id] = identity
        if id in self._refs:
            self._replace_ref(id, ref)
        self._keep_ref(id, ref)
        if id in node.results:
            return id
        node.results[id] = created_at
        self._keys_of.setdefault(id, {})[key] = None
        self._note_added(self._result(key, id))
        return id

    def _result(self, key: str, id: str) -> ResultRow:
        return ResultRow(key, id, self._nodes[key].results[id], self._refs[id], self._identities.get(id, ""))

    def publish(self, ref: Ref) -> None:
        """The layers of a ref are in the blob store. Its result may be stored later: that many are kept in mind.

        Told once, they stay: any executor may tell, and none is to change what a result of another consists of.
        """
        if self.layers_of(ref.id):
            return
        known = self._refs.get(ref.id)
        if known is not None:
            self._replace_ref(ref.id, replace(known, layers=ref.layers))
            return
        self._published[ref.id] = ref.layers
        self._published.move_to_end(ref.id)
        if len(self._published) > MAX_PUBLISHED:
            self._published.popitem(last=False)

    def layers_of(self, id: str) -> tuple[Layer, ...]:
        """What was published of a ref, whether it is a result or not."""
        known = self._refs.get(id)
        return known.layers if known is not None and known.layers else self._published.get(id, ())

    def _replace_ref(self, id: str, ref: Ref | None) -> None:
        old = self._refs[id]
        if old == ref:
            return
        for key in self._keys_of[id]:
            row = self._result(key, id)
            self._note_removed(row)
            self._note_added(replace(row, ref=ref))
        self._keep_ref(id, ref)

    def _keep_ref(self, id: str, ref: Ref | None) -> None:
        self._layers.exchanged(self._refs.get(id), ref)
        self._refs[id] = ref

    def release(self, result: str) -> bool:
        """Forget a result everywhere, and the keys that lead to nothing then. False when it was unknown."""
        self._published.pop(result, None)
        keys = self._keys_of.pop(result, None)
        if keys is None:
            return False
        for key in keys:
            self._note_removed(self._result(key, result))
            del self._nodes[key].results[result]
            self._drop_if_empty(key)
        self._layers.exchanged(self._refs.pop(result), None)
        self._identities.pop(result, None)
        return True

    def restore(self, rows: Iterable[Row]) -> None:
        """Take over what was persisted. Nothing of it counts as a change, but keys that lead nowhere are cleaned away."""
        for row in rows:
            if isinstance(row, LinkRow):
                self._connect(row)
            else:
                self._node(row.key).results[row.id] = row.created_at
                self._keep_ref(row.id, row.ref)
                if row.identity:
                    self._identities[row.id] = row.identity
                self._keys_of.setdefault(row.id, {})[row.key] = None
        for key in list(self._nodes):
            self._drop_if_empty(key)

    def rows(self) -> list[Row]:
        """Everything that is persisted."""
        rows: list[Row] = []
        for key, node in self._nodes.items():
            rows += [self._result(key, id) for id in node.results]
            if not key.startswith(RANDOM):
                rows += [LinkRow(key, link, target) for link, targets in node.links.items() for target in targets]
        return rows

    def take_changes(self) -> tuple[list[Row], list[Row]]:
        """(added, removed) since the last time."""
        added, removed = list(self._added), list(self._removed)
        self._added.clear()
        self._removed.clear()
        return added, removed

    def return_changes(self, added: Iterable[Row], removed: Iterable[Row]) -> None:
        """They could not be persisted; what has been undone meanwhile stays undone."""
        for row in added:
            if row not in self._removed:
                self._added[row] = None
        for row in removed:
            if row not in self._added:
                self._removed[row] = None

    def statistics(self) -> dict[str, int]:
        """Sizes."""
        return {"keys": len(self._nodes), "records": len(self._refs), "random_roots": len(self._random), "bytes": self._layers.bytes}

    # --- inside

    def _node(self, key: str) -> _Node:
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = _Node()
        return node

    def _link(self, source: str, link: Link, target: str) -> None:
        if source == target or target in self._node(source).links.get(link, {}):
            return
        row = LinkRow(source, link, target)
        self._connect(row)
        if source.startswith(RANDOM):
            self._limit_random(source)
        else:
            self._note_added(row)

    def _connect(self, row: LinkRow) -> None:
        self._node(row.source).links.setdefault(row.link, {})[row.target] = None
        self._node(row.target).sources[row.source] = None

    def _disconnect(self, source: str, link: Link, target: str) -> None:
        targets = self._nodes[source].links[link]
        del targets[target]
        if not targets:
            del self._nodes[source].links[link]
        if not source.startswith(RANDOM):
            self._note_removed(LinkRow(source, link, target))

    def _limit_random(self, root: str) -> None:
        self._random[root] = None
        self._random.move_to_end(root)
        while len(self._random) > MAX_RANDOM_ROOTS:
            oldest, _ = self._random.popitem(last=False)
            node = self._nodes.get(oldest)
            for link in list(node.links) if node is not None else []:
                for target in list(self._nodes[oldest].links[link]):
                    self._disconnect(oldest, link, target)
                    self._nodes[target].sources.pop(oldest, None)
            self._drop_if_empty(oldest)

    def _drop_if_empty(self, key: str) -> None:
        """Remove a key without links and results, then its parents if that was all they led to."""
        waiting = [key]
        while waiting:
            id = waiting.pop()
            node = self._nodes.get(id)
            if node is None or node.links or node.results:
                continue
            for source in node.sources:
                for link in [n for n, targets in self._nodes[source].links.items() if id in targets]:
                    self._disconnect(source, link, id)
                waiting.append(source)
            del self._nodes[id]
            self._random.pop(id, None)

    def _note_added(self, row: Row) -> None:
        self._removed.pop(row, None)
        self._added[row] = None

    def _note_removed(self, row: Row) -> None:
        if row in self._added:
            del self._added[row]
        self._removed[row] = None
