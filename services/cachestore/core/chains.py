"""What a key follows from, as a list that can leave the fleet (semantics: solver/exporter.go, cache/remotecache/v1 of BuildKit).

A key that can only be reached through what is local to a session (`random:` roots) is of no use elsewhere and is left out.
"""

from collections.abc import Iterable

from services.cachestore.core.key_graph import KeyGraph, Link
from shared.model import CacheEntry, CacheInput

Names = dict[int, dict[tuple[str, str], None]]  # input index → (key id, selector)


def chain_of(graph: KeyGraph, keys: Iterable[str]) -> list[tuple[str, CacheEntry]]:
    """(key id, entry) of these keys and everything they follow from, inputs first; entries have no layers yet."""
    order: list[str] = []
    links: dict[str, list[tuple[str, Link]]] = {}
    stack = [(key, False) for key in reversed(list(dict.fromkeys(keys)))]
    while stack:
        key, leaving = stack.pop()
        if leaving:
            order.append(key)
        elif key not in links:
            links[key] = sorted(graph.backlinks(key), key=lambda pair: (pair[1].input, pair[0], pair[1].selector))
            stack.append((key, True))
            stack.extend((source, False) for source, _ in reversed(links[key]))
    places: dict[str, int] = {}
    out: list[tuple[str, CacheEntry]] = []
    for key in order:
        entry = _entry(key, links[key], places)
        if entry is not None:
            places[key] = len(out)
            out.append((key, entry))
    return out


def _entry(key: str, links: list[tuple[str, Link]], places: dict[str, int]) -> CacheEntry | None:
    """None for a key that nobody elsewhere could ever reach. Links back from later keys (a circle) don't count."""
    if not links:
        return CacheEntry(digest=key) if key.startswith("sha256:") else None
    digest = links[0][1].digest
    count = 1 + max(link.input for _, link in links)
    inputs: list[list[CacheInput]] = [[] for _ in range(count)]
    for source, link in links:
        if source in places and link.digest == digest:
            inputs[link.input].append(CacheInput(entry=places[source], selector=link.selector))
    if not all(inputs):
        return None
    return CacheEntry(digest=digest, inputs=tuple(map(tuple, inputs)))
