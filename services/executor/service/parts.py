"""What lives as long as the service."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from services.executor.adapters.snapshots import DiskSnapshots
from shared.blobs.threads import Pool
from shared.model import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """`home` is this executor's id, `root` its folder, `width` how many ops may run at once, `platforms` what it runs, native first,
    of which those in `emulated` are slow, and of these `wrapped` need an emulator of ours in each container."""

    home: str
    root: Path
    store: DiskSnapshots
    threads: Pool
    slots: asyncio.Semaphore
    width: int
    platforms: tuple[Platform, ...]
    emulated: tuple[Platform, ...]
    wrapped: tuple[Platform, ...] = ()
