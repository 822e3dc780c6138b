"""Which snapshots of cache mounts may go from the blob store: what nobody has changed for long, and the oldest of too many bytes."""

from collections.abc import Mapping

from shared.model import KeptMount


def outlived(kept: Mapping[str, KeptMount], *, now: int, seconds: float, max_bytes: int) -> list[str]:
    """Keys whose snapshot goes, oldest first. `now` in ns since the epoch."""
    by_age = sorted((key for key in kept if kept[key].kept), key=lambda key: (kept[key].changed_at, key))
    horizon = now - int(seconds * 1e9)
    total = sum(kept[key].size for key in by_age)
    out = []
    for key in by_age:
        if kept[key].changed_at > horizon and total <= max_bytes:
            break
        total -= kept[key].size
        out.append(key)
    return out
