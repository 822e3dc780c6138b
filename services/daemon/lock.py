"""One daemon per state folder, and what systemd is told."""

import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shared.errors import InvalidInput

NAME = "buildkitd.lock"


@contextmanager
def state_lock(root: Path) -> Iterator[None]:
    """Hold the folder's lock; raises InvalidInput with buildkitd's words when somebody else does. The file is removed at the end."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = root / NAME
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise InvalidInput(f"could not lock {path}, another instance running?") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)


def notify(environment: Mapping[str, str], state: str) -> None:
    """`READY=1` or `STOPPING=1` to NOTIFY_SOCKET, if there is one (sd_notify(3))."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.sendall(state.encode())
        except OSError:
            return  # whoever started us no longer listens
