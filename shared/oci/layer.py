"""Names inside layers and identities of layer chains (OCI image-spec layer.md, config.md)."""

import hashlib
from collections.abc import Sequence

from shared.model import Digest

WHITEOUT_PREFIX = ".wh."
OPAQUE_MARKER = ".wh..wh..opq"
EMPTY_TAR_DIFF_ID = Digest("sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef")  # 1024 zero bytes


def whiteout_target(base: str) -> str | None:
    """The name that the entry `base` deletes; None when it is no plain whiteout. Raises ValueError for one that names nothing sane."""
    if not base.startswith(WHITEOUT_PREFIX) or base == OPAQUE_MARKER:
        return None
    target = base[len(WHITEOUT_PREFIX) :]
    if target in ("", ".", "..") or "/" in target:
        raise ValueError(f"invalid whiteout name: {base!r:.100}")
    return target


def chain_ids(diff_ids: Sequence[Digest]) -> tuple[Digest, ...]:
    """The chain id of each prefix: the first is the diff id itself, then sha256(`<chain so far> <diff id>`)."""
    out: list[Digest] = []
    for diff_id in diff_ids:
        if not out:
            out.append(diff_id)
        else:
            out.append(Digest("sha256:" + hashlib.sha256(f"{out[-1]} {diff_id}".encode()).hexdigest()))
    return tuple(out)


def chain_id(diff_ids: Sequence[Digest]) -> Digest | None:
    """The chain id of them all; None for no layers."""
    return chain_ids(diff_ids)[-1] if diff_ids else None
