"""Results: a Ref names a file tree that some executor holds, or can rebuild from layers."""

from dataclasses import dataclass

from shared.model.digest import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer blob. `size` in bytes of the blob; `diff_id` digests the uncompressed tar.

    `source` says where a blob that is not in the blob store can be fetched from: a normalized repository
    (`docker.io/library/busybox`) for registry layers, `oci:<name>` or `local:<folder>` for a client's content store, empty otherwise.
    A `transport` blob was made for other executors only: quick to make, not what an image shall hold.
    """

    digest: Digest
    diff_id: Digest
    size: int
    media_type: str
    source: str = ""
    created_at: int = 0  # ns since the epoch, 0 = unknown
    description: str = ""
    urls: tuple[str, ...] = ()  # of a foreign (non-distributable) layer
    transport: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """An immutable snapshot. `None` in place of a Ref means scratch (an empty tree).

    `id` is unique in the fleet and unguessable; `home` is the executor that holds the snapshot ("" = none holds it yet);
    `layers` is its published chain, base first, empty while unpublished. A Ref with neither is unusable (RefLost).
    """

    id: str
    home: str = ""
    layers: tuple[Layer, ...] = ()
    size: int = -1  # bytes of the snapshot's own diff, -1 = not known
