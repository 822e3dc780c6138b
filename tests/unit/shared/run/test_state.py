"""Folders of one's own in a shared one."""

import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import Exhausted
from shared.run import state
from shared.run.backends import MeshConfig
from shared.run.state import own_state
from tests.kit.parts.process import child

HOLDER = """
import pathlib, sys, time
from shared.run.backends import MeshConfig
from shared.run.state import own_state
with own_state(MeshConfig(state=pathlib.Path(sys.argv[1]), share_state=True)) as mine:
    print(mine.state, flush=True)
    time.sleep(60)
"""


def test_each_process_takes_the_first_free_place(tmp_path: Path) -> None:
    config = MeshConfig(state=tmp_path, share_state=True)

    with own_state(config) as first, own_state(config) as second:
        assert [first.state, second.state] == [tmp_path / "0", tmp_path / "1"]
    with own_state(config) as again:
        assert again.state == tmp_path / "0"


def test_a_place_is_free_when_its_process_is_killed(tmp_path: Path) -> None:
    config = MeshConfig(state=tmp_path, share_state=True)
    with child([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == str(tmp_path / "0")
        with own_state(config) as second:
            assert second.state == tmp_path / "1"
        holder.kill()
        holder.wait(10)

    with own_state(config) as again:
        assert again.state == tmp_path / "0"


def test_alone_the_folder_is_the_process_own(tmp_path: Path) -> None:
    config = MeshConfig(state=tmp_path)

    with own_state(config) as mine:
        assert mine is config


def test_places_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "PLACES", 1)
    config = MeshConfig(state=tmp_path, share_state=True)

    with own_state(config), pytest.raises(Exhausted, match="all 1 places"), own_state(config):
        pass
