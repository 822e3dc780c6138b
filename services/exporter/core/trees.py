"""What `local` and `tar` send: which tree goes to which sub directory (exporter/local/export.go, exporter/tar/export.go)."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.exporter.core.options import Kind, Options
from shared.model import Ref
from shared.oci.result_platforms import TargetPlatform


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTree:
    """A tree and the sub directory it is sent to ("" = the root).

    `platform_id`: whose it is; `shared`: trees of several platforms may go to the same directory, file names have to tell them apart.
    """

    ref: Ref | None
    prefix: str
    platform_id: str
    shared: bool
    status_id: str


def planned_trees(
    options: Options, targets: tuple[TargetPlatform, ...], ref: Ref | None, refs: Mapping[str, Ref | None], *, is_map: bool
) -> tuple[PlannedTree, ...]:
    """In platform order. Maps go to `linux_arm64/…` each, a single tree to the root; `platform-split` overrides that for `local`."""
    split = is_map
    if options.kind is Kind.LOCAL and options.platform_split is not None:
        split = options.platform_split
    chosen = [(t.id, refs.get(t.id) if is_map else ref) for t in (targets if is_map or split else targets[:1])]
    return tuple(
        PlannedTree(
            ref=tree,
            platform_id=id,
            shared=is_map and not split,
            prefix=id.replace("/", "_") if split else "",
            status_id=f"copying files {id}" if split else "copying files",
        )
        for id, tree in chosen
    )
