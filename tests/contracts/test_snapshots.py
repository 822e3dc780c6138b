"""The disk store in both layouts, on a real disk and real overlay mounts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.executor.adapters.overlayfs import overlay_works
from services.executor.adapters.snapshots import DiskSnapshots, open_snapshots
from tests.contracts.snapshots import Clock, SnapshotContract

pytestmark = pytest.mark.root


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reopen(clock: Clock) -> Iterator[Callable[[DiskSnapshots], DiskSnapshots]]:
    """A second store over the same directory, as after a kill: the first one is not closed."""
    opened: list[DiskSnapshots] = []

    def again(store: DiskSnapshots) -> DiskSnapshots:
        style = "native" if store.style.value == "full" else "overlayfs"
        opened.append(open_snapshots(store._root, style=style, clock=clock))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


class TestOverlay(SnapshotContract):
    @pytest.fixture
    def store(self, tmp_path: Path, clock: Clock) -> Iterator[DiskSnapshots]:
        if os.geteuid() != 0 or not overlay_works(str(tmp_path)):
            pytest.skip("no overlayfs here")
        store = open_snapshots(tmp_path / "s", style="overlayfs", clock=clock)
        yield store
        store.close()
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


class TestNative(SnapshotContract):
    @pytest.fixture
    def store(self, tmp_path: Path, clock: Clock) -> Iterator[DiskSnapshots]:
        if os.geteuid() != 0:
            pytest.skip("owners need root")
        store = open_snapshots(tmp_path / "s", style="native", clock=clock)
        yield store
        store.close()
