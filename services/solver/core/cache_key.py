"""Cache keys as the machine sees them: an id in the cache index, and the links by which it was reached."""

import hashlib
from dataclasses import dataclass, field

from services.solver.core.vertex import Digest

ANY_OUTPUT = -1


def root_key_id(digest: Digest, output: int) -> str:
    """Id of a key without inputs: sha256 of `<digest>@<output>` (solver/cachemanager.go rootKey).

    Keys of session-local content keep the label `random:`, so that nobody stores or exports them.
    """
    if digest.startswith("random:"):
        return digest
    return "sha256:" + hashlib.sha256(f"{digest}@{output}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class KeyLink:
    """A key of an input together with the selector under which it counts."""

    key: "CacheKey"
    selector: Digest = ""


@dataclass(slots=True, eq=False, kw_only=True)
class CacheKey:
    """One way to name a result.

    `id` is its name in the cache index; `inputs[i]` are the known keys of input i (empty for a root key). `index_ids` is
    owned by the edge index.
    """

    id: str
    digest: Digest
    output: int
    inputs: tuple[tuple[KeyLink, ...], ...] = ()
    index_ids: list[str] = field(default_factory=list)


def root_key(digest: Digest, output: int) -> CacheKey:
    """The key of a vertex without inputs."""
    return CacheKey(id=root_key_id(digest, output), digest=digest, output=output)


def content_key(digest: Digest) -> CacheKey:
    """The key of a piece of content, whoever made it."""
    return root_key(digest, ANY_OUTPUT)
