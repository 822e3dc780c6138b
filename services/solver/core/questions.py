"""What an edge asks the cache index while it thinks; it is parked until the answer comes.

An index that can't answer answers «nothing»: a broken cache is a cache miss.
"""

from dataclasses import dataclass

from services.solver.core.cache_key import CacheKey
from services.solver.core.vertex import CacheRecord, Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryLinks:
    """Which keys do these names of input `input` lead to, for an op with this cache map digest and output?

    `links` = (key id, selector) pairs; they name the same thing, so each found key gets linked from all of them.
    Answer: LinksFound.
    """

    links: tuple[tuple[str, Digest], ...]
    input: int
    digest: Digest
    output: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRecords:
    """Which results does the key `key_id` have? For a root key with its `digest` and `output`. Answer: RecordsFound."""

    key_id: str
    digest: Digest = ""
    output: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksFound:
    """Ids of the keys that were found; `records` may carry their results at once, by key id."""

    key_ids: tuple[str, ...] = ()
    records: dict[str, tuple[CacheRecord, ...]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsFound:
    """`exists` False = the index doesn't know the key at all."""

    exists: bool = False
    records: tuple[CacheRecord, ...] = ()


Question = QueryLinks | FetchRecords
Reply = LinksFound | RecordsFound


@dataclass(frozen=True, slots=True, eq=False)
class FoundRecord:
    """A record with the key that led to it."""

    record: CacheRecord
    key: CacheKey
