"""Choosing a display by `--progress`."""

from __future__ import annotations

from typing import Protocol, TextIO

from client.progress.plain import PlainDisplay
from client.progress.raw_json import RawJsonDisplay
from client.progress.tty import TtyDisplay
from shared.pb import control_pb2


class Display(Protocol):
    def update(self, response: control_pb2.StatusResponse) -> None: ...

    def tick(self) -> None:
        """Time has passed."""

    def close(self) -> None: ...


class QuietDisplay:
    """Shows nothing."""

    def update(self, response: control_pb2.StatusResponse) -> None: ...

    def tick(self) -> None: ...

    def close(self) -> None: ...


MODES = ("auto", "tty", "plain", "rawjson", "quiet")


def make_display(mode: str, out: TextIO) -> Display:
    """`auto` is tty when `out` is a terminal, else plain."""
    match mode:
        case "quiet":
            return QuietDisplay()
        case "rawjson":
            return RawJsonDisplay(out)
        case "tty":
            return TtyDisplay(out)
        case "auto" if out.isatty():
            return TtyDisplay(out)
        case _:
            return PlainDisplay(out)
