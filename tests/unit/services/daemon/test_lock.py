"""One daemon per folder; systemd is told."""

import os
import socket
from pathlib import Path

import pytest

from services.daemon.lock import NAME, notify, state_lock
from shared.errors import InvalidInput


def test_a_second_daemon_is_refused_in_buildkitds_words(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "root"

    with (
        state_lock(root),
        pytest.raises(InvalidInput, match=r"could not lock .*/buildkitd\.lock, another instance running\?"),
        state_lock(root),
    ):
        pass

    assert not (root / NAME).exists()
    assert oct(os.stat(root).st_mode & 0o777) == "0o700"
    with state_lock(root):
        pass


def test_notify(tmp_path: Path) -> None:
    path = str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        notify({"NOTIFY_SOCKET": path}, "READY=1")
        assert receiver.recv(100) == b"READY=1"


def test_notify_without_anybody(tmp_path: Path) -> None:
    notify({}, "READY=1")
    notify({"NOTIFY_SOCKET": str(tmp_path / "gone")}, "READY=1")
