"""Which of several kinds of workers speaks for all: what a build means that names no platform."""

from collections import Counter
from collections.abc import Iterable

from shared.model.platform import Platform

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def default_platform(natives: Iterable[Platform], machine: str) -> Platform:
    """`machine`'s platform (uname's word for it), where one of `natives` is that or there is none; else the most frequent one.

    Of several kinds of executors none is the first: ids are drawn, and the default must not change with whoever comes or goes.
    """
    name = machine.lower()
    own = Platform(os="linux", architecture=_ARCHITECTURES.get(name, name)).normalized()
    count = Counter(platform.normalized() for platform in natives)
    if own in count or not count:
        return own
    return max(count, key=lambda platform: (count[platform], str(platform)))


def is_native(platforms: tuple[Platform, ...], wanted: Platform) -> bool:
    """Whether a worker with these platforms, its own one first, runs `wanted` natively."""
    return bool(platforms) and platforms[0].normalized() == wanted
