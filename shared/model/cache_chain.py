"""A piece of the cache that can leave the fleet: keys, how they follow from each other, and results as layers.

This is what cache configs (`application/vnd.buildkit.cacheconfig.v0`, cache/remotecache/v1 of BuildKit) say.
"""

from dataclasses import dataclass

from shared.model.ref import Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheInput:
    """One name of an input: the entry with this index in the same list, linked by `selector`."""

    entry: int
    selector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """A key. `digest` = sha256 of `<cache-map digest>@<output>`; `inputs[i]` = all names of input i (none = a root).

    `layers` = its result, base first; empty = no result goes along. `created_at` ns.
    """

    digest: str
    inputs: tuple[tuple[CacheInput, ...], ...] = ()
    layers: tuple[Layer, ...] = ()
    created_at: int = 0
