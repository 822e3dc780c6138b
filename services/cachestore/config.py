"""Configuration of the cachestore service."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CachestoreConfig:
    """`index`: where keys are kept: `sqlite:///file`, `nats-kv://bucket` (on the mesh's bus, with a copy in the state folder),
    `memory://`; "" = sqlite in the state folder when alone, else `nats-kv://cache-keys`. `gc`: collect garbage by the executors'
    policies 1 s after each build, at most once in `gc_interval` seconds. `presume_alive`: seconds after the start during which
    executors that are not registered yet are taken for alive. `mounts_keep`: seconds for which a snapshot of a cache mount is kept that no
    step has changed since, `mounts_size`: bytes that all of them may take in the blob store.
    """

    index: str = ""
    gc: bool = True
    gc_interval: float = 60.0
    presume_alive: float = 10.0
    mounts_keep: float = 14 * 86400.0
    mounts_size: int = 20 << 30
