"""Finds a living edge with the same meaning as another: same cache map digest, output, and some common name of each input.

It is a small copy of the cache index over living edges only. BuildKit: solver/index.go.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from services.solver.core.cache_key import CacheKey, KeyLink, root_key_id
from services.solver.core.edge import Edge
from services.solver.core.vertex import Digest


class _Link(NamedTuple):
    input: int
    digest: Digest
    output: int
    selector: Digest


@dataclass(slots=True, eq=False)
class _Item:
    edge: Edge | None = None
    links: dict[_Link, dict[str, None]] = field(default_factory=dict)
    sources: dict[tuple[str, _Link], None] = field(default_factory=dict)  # whence it is reached


def _link(key: CacheKey, position: int, source: KeyLink) -> _Link:
    return _Link(position, key.digest, key.output, source.selector)


class EdgeIndex:
    """Edges by key. Every edge put in is taken out by `release`."""

    def __init__(self) -> None:
        self._items: dict[str, _Item] = {}
        self._ids_of: dict[Edge, dict[str, None]] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._items)

    def find_or_add(self, key: CacheKey, edge: Edge) -> Edge | None:
        """A living edge that `edge` may follow; None = there was none and `edge` is in the index now.

        An edge that ignores the cache never follows one that doesn't.
        """
        ids = self._matches(key)
        for id in ids:
            other = item.edge if (item := self._items.get(id)) is not None else None
            if other is not None and other is not edge and (other.ignore_cache or not edge.ignore_cache):
                self._join(id, key)
                return other
        id = ids[0] if ids else self._new_id()
        self._join(id, key)
        self._items[id].edge = edge
        self._ids_of.setdefault(edge, {})[id] = None
        return None

    def release(self, edge: Edge) -> None:
        """Forget an edge; idempotent."""
        for id in self._ids_of.pop(edge, {}):
            item = self._items.get(id)
            if item is not None and item.edge is edge:
                item.edge = None
                self._collect(id, item)
        if not self._ids_of:
            self._items.clear()  # what is left leads in circles (an op on its own output, found by content)

    def _new_id(self) -> str:
        self._next += 1
        return f"#{self._next}"

    def _collect(self, id: str, item: _Item) -> None:
        """Remove an item that nothing leads on from, then those that led only to it."""
        pending = [(id, item)]
        while pending:
            id, item = pending.pop()
            if item.edge is not None or item.links or self._items.get(id) is not item:
                continue
            del self._items[id]
            for source, link in item.sources:
                origin = self._items.get(source)
                if origin is None:
                    continue
                targets = origin.links.get(link, {})
                targets.pop(id, None)
                if not targets:
                    origin.links.pop(link, None)
                pending.append((source, origin))

    def _join(self, id: str, key: CacheKey) -> None:
        """Make `id` reachable from every name of the key's inputs."""
        main = self._items.setdefault(id, _Item())
        for position, sources in enumerate(key.inputs):
            for source in sources:
                self._name(source.key)
                for source_id in source.key.index_ids:
                    item = self._items.setdefault(source_id, _Item())
                    link = _link(key, position, source)
                    item.links.setdefault(link, {})[id] = None
                    main.sources[source_id, link] = None

    def _name(self, key: CacheKey) -> None:
        """Give a key its ids, the same as an equal key's."""
        if not key.index_ids:
            key.index_ids = self._matches(key) or [self._new_id()]
            for id in key.index_ids:
                self._join(id, key)

    def _matches(self, key: CacheKey) -> list[str]:
        """Ids that every input leads to."""
        if not key.inputs:
            return [root_key_id(key.digest, key.output)]
        common: dict[str, None] | None = None
        for position, sources in enumerate(key.inputs):
            reached: dict[str, None] = {}
            for source in sources:
                self._name(source.key)
                for source_id in source.key.index_ids:
                    if (item := self._items.get(source_id)) is not None:
                        reached.update(item.links.get(_link(key, position, source), {}))
            common = reached if common is None else {id: None for id in common if id in reached}
            if not common:
                return []
        return list(common or ())
