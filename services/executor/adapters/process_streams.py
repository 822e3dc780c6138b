"""The standard streams of a container's process: pipes, or one terminal; and their other ends, which the loop can use."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

__all__ = ["Streams", "open_streams"]


_SIZE: Final = 1 << 20
_READS: Final = 16


@dataclass(slots=True, kw_only=True)
class Streams:
    """`theirs`: by number, for the process. Ours: `source` is written to (its stdin), `sinks` are read, by number. -1 = none."""

    theirs: Mapping[int, int]
    source: int
    sinks: Mapping[int, int]
    terminal: int = -1
    _passed: ExitStack

    def passed(self) -> None:
        """The process has its ends: close them here, so that an end of it is an end."""
        self._passed.close()

    def close_source(self) -> None:
        """Its stdin ends. A terminal has no such end."""
        source, self.source = self.source, -1
        if source >= 0 and source != self.terminal:
            with contextlib.suppress(OSError):
                os.close(source)

    def discard(self) -> None:
        """Read what has been printed and nobody wants any more: the runtime does not end before it is rid of that."""
        for sink in set(self.sinks.values()):
            with contextlib.suppress(OSError):
                for _ in range(_READS):
                    if not os.read(sink, _SIZE):
                        break

    def resize(self, rows: int, columns: int) -> None:
        """Of the terminal, if it is one."""
        if self.terminal >= 0:
            fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))


@contextmanager
def open_streams(wanted: Iterable[int], *, terminal: bool) -> Iterator[Streams]:
    """Those of 0, 1, 2 that are wanted. Everything is closed in the end. Errors: OSError."""
    numbers = [n for n in wanted if n in (0, 1, 2)]
    with ExitStack() as stack, ExitStack() as passed:
        streams = _terminal(numbers, stack, passed) if terminal else _pipes(numbers, stack, passed)
        try:
            yield streams
        finally:
            streams.close_source()


def _terminal(numbers: list[int], stack: ExitStack, passed: ExitStack) -> Streams:
    ours, theirs = os.openpty()
    stack.callback(os.close, ours)
    passed.callback(os.close, theirs)
    os.set_blocking(ours, False)
    return Streams(
        theirs=dict.fromkeys(numbers, theirs),
        source=ours if 0 in numbers else -1,
        sinks={1: ours} if 1 in numbers else {},
        terminal=ours,
        _passed=passed,
    )


def _pipes(numbers: list[int], stack: ExitStack, passed: ExitStack) -> Streams:
    theirs: dict[int, int] = {}
    sinks: dict[int, int] = {}
    source = -1
    for number in numbers:
        reader, writer = os.pipe()
        mine, its = (writer, reader) if number == 0 else (reader, writer)
        os.set_blocking(mine, False)
        theirs[number] = its
        passed.callback(os.close, its)
        if number == 0:
            source = mine
        else:
            sinks[number] = mine
            stack.callback(os.close, mine)
    return Streams(theirs=theirs, source=source, sinks=sinks, _passed=passed)
