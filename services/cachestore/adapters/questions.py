"""Messages about keys ↔ the key graph. Whoever can write on the bus may write nonsense: every index and length is checked here."""

from collections.abc import Callable, Sequence

from services.cachestore.core.chains import chain_of
from services.cachestore.core.key_graph import Dep, KeyGraph, ResultRow, root_id
from shared.bus.calls import Served
from shared.errors import InvalidInput
from shared.model import CacheEntry, Ref
from shared.telemetry import Counter
from shared.wire.messages import (
    CacheChain,
    CacheChainFound,
    CacheDrop,
    CacheKeys,
    CacheLink,
    CacheQuery,
    CacheRecord,
    CacheRecords,
    CacheRecordsOf,
    CacheSave,
    CacheSaved,
    ChainNode,
    Done,
    FoundKey,
    KeyDep,
    KeyNode,
    LayersFound,
    LayersOf,
    RefsPublished,
)

MAX_TEXT = 256
MAX_NODES = 4096


class Questions:
    """Sync handlers for `call.cache`. `usable(ref)`: whether a stored result may be handed out now; `changed` is called after orders."""

    def __init__(self, graph: KeyGraph, *, usable: Callable[[Ref | None], bool], changed: Callable[[], None], counter: Counter) -> None:
        self._graph, self._usable, self._changed, self._counter = graph, usable, changed, counter

    def query(self, question: CacheQuery, served: Served) -> CacheKeys:
        """CacheQuery → CacheKeys."""
        ids = self.ids(question.nodes)
        deps = [self._dep(dep, ids) for dep in question.deps]
        check_text(question.digest)
        found = self._graph.query(deps, question.input, question.digest, question.output)
        if len(deps) > 1 and found:
            self._changed()
        self._counter.add(1, "query", "hit" if found else "miss")
        return CacheKeys(
            keys=tuple(
                FoundKey(id=f.id, digest=question.digest, output=question.output, dep=f.dep, has_records=f.has_records) for f in found
            )
        )

    def records(self, question: CacheRecordsOf, served: Served) -> CacheRecords:
        """CacheRecordsOf → CacheRecords, the newest first."""
        rows = [row for row in self._graph.records(self._key(question.nodes, question.key)) if self._usable(row.ref)]
        self._counter.add(1, "records", "hit" if rows else "miss")
        return CacheRecords(records=tuple(map(_record, rows)))

    def save(self, order: CacheSave, served: Served) -> CacheSaved:
        """CacheSave → CacheSaved."""
        ids = self.ids(order.nodes)
        key = at(ids, order.key)
        check_text(order.identity)
        record = self._graph.add_result(key, order.ref, order.created_at, order.identity)
        self._link(order.nodes, ids)
        self._changed()
        self._counter.add(1, "save", "ok")
        return CacheSaved(key_ids=tuple(ids), record=record)

    def link(self, order: CacheLink, served: Served) -> CacheSaved:
        """CacheLink → CacheSaved."""
        ids = self.ids(order.nodes)
        at(ids, order.key)
        self._link(order.nodes, ids)
        self._changed()
        return CacheSaved(key_ids=tuple(ids), record="")

    def chain(self, question: CacheChain, served: Served) -> CacheChainFound:
        """CacheChain → CacheChainFound."""
        if len(question.keys) > MAX_NODES:
            raise InvalidInput(f"a question about {len(question.keys)} keys is too large")
        check_text(*question.keys)
        found = chain_of(self._graph, question.keys)
        return CacheChainFound(nodes=tuple(self._chain_node(id, entry) for id, entry in found))

    def _chain_node(self, id: str, entry: CacheEntry) -> ChainNode:
        row = next((row for row in self._graph.records(id) if self._usable(row.ref)), None)
        if row is None:
            return ChainNode(id=id, entry=entry)
        return ChainNode(id=id, entry=entry, has_record=True, ref=row.ref, created_at=row.created_at)

    def publish(self, order: RefsPublished, served: Served) -> Done:
        """RefsPublished → Done."""
        if len(order.refs) > MAX_NODES:
            raise InvalidInput(f"{len(order.refs)} refs at once are too many")
        for ref in order.refs:
            check_text(ref.id)
            if ref.layers:
                self._graph.publish(ref)
        self._changed()
        return Done()

    def layers(self, question: LayersOf, served: Served) -> LayersFound:
        """LayersOf → LayersFound."""
        return LayersFound(layers=self._graph.layers_of(question.ref_id))

    def drop(self, order: CacheDrop, served: Served) -> Done:
        """CacheDrop → Done."""
        for ref in order.ref_ids:
            self._graph.release(ref)
        self._changed()
        self._counter.add(len(order.ref_ids), "drop", "ok")
        return Done()

    def _key(self, nodes: Sequence[KeyNode], index: int) -> str:
        return at(self.ids(nodes), index)

    def ids(self, nodes: Sequence[KeyNode]) -> list[str]:
        """The graph's id of each node; a node may only speak of nodes before it."""
        if len(nodes) > MAX_NODES:
            raise InvalidInput(f"a question with {len(nodes)} keys is too large")
        ids: list[str] = []
        for node in nodes:
            check_text(node.id, node.digest)
            if node.id:
                ids.append(node.id)
            elif not node.deps:
                ids.append(root_id(node.digest, node.output))
            else:
                ids.append(self._graph.combined_id(self._inputs(node, ids), node.digest, node.output))
        return ids

    def _inputs(self, node: KeyNode, ids: Sequence[str]) -> list[list[Dep]]:
        return [[self._dep(dep, ids) for dep in alternatives] for alternatives in node.deps]

    def _dep(self, dep: KeyDep, ids: Sequence[str]) -> Dep:
        check_text(dep.selector)
        return Dep(at(ids, dep.node), dep.selector)

    def _link(self, nodes: Sequence[KeyNode], ids: Sequence[str]) -> None:
        for i, node in enumerate(nodes):
            if node.deps:
                self._graph.link_inputs(ids[i], self._inputs(node, ids[:i]), node.digest, node.output)


def _record(row: ResultRow) -> CacheRecord:
    return CacheRecord(id=row.id, ref=row.ref, created_at=row.created_at, priority=0)


def at(ids: Sequence[str], index: int) -> str:
    """The id at an index that came from the bus. Raises InvalidInput."""
    if not 0 <= index < len(ids):
        raise InvalidInput(f"key index {index} of {len(ids)}")
    return ids[index]


def check_text(*texts: str) -> None:
    """Raises InvalidInput for what is too long."""
    for text in texts:
        if len(text) > MAX_TEXT:
            raise InvalidInput(f"key text of {len(text)} characters is too long: {text[:40]!r}…")
