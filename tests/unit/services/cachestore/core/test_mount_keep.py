"""Which snapshots of cache mounts have had their time."""

from services.cachestore.core.mount_keep import outlived
from shared.model import Digest, KeptMount, Layer

DAY = 86400


def kept(day: int, size: int) -> KeptMount:
    layer = Layer(digest=Digest("sha256:" + "0" * 64), diff_id=Digest("sha256:" + "0" * 64), size=size, media_type="")
    return KeptMount(epoch="e", turn=1, settled=1, kept=1 if size else 0, layers=(layer,), changed_at=day * DAY * 10**9)


def test_what_nobody_changed_for_long_and_the_oldest_of_too_much() -> None:
    mounts = {"new": kept(20, 40), "mid": kept(15, 40), "old": kept(1, 40), "gone": kept(0, 0)}
    now = 21 * DAY * 10**9
    assert outlived(mounts, now=now, seconds=14 * DAY, max_bytes=1000) == ["old"]
    assert outlived(mounts, now=now, seconds=14 * DAY, max_bytes=50) == ["old", "mid"]
    assert outlived(mounts, now=now, seconds=100 * DAY, max_bytes=120) == []
    assert outlived({}, now=now, seconds=0, max_bytes=0) == []
