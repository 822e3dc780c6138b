"""A picture of the build that is drawn anew a few times a second, for terminals."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Final, TextIO

from client.progress.steps import Step, Steps, failures, progress_text, warnings
from shared.pb import control_pb2

_EVERY: Final = 0.1
_LINES_PER_STEP: Final = 6


class TtyDisplay:
    """The last steps that fit on the screen, running ones with the end of their output. The picture of a failed step stays."""

    def __init__(
        self,
        out: TextIO,
        *,
        clock: Callable[[], float] = time.time,
        size: Callable[[], tuple[int, int]] = shutil.get_terminal_size,
    ) -> None:
        self._out = out
        self._clock = clock
        self._size = size
        self._steps = Steps()
        self._began = clock()
        self._drawn_at = 0.0
        self._height = 0

    def update(self, response: control_pb2.StatusResponse) -> None:
        self._steps.update(response)
        self.tick()

    def tick(self) -> None:
        """Draw, unless that was just done."""
        if self._clock() - self._drawn_at >= _EVERY:
            self._draw()

    def close(self) -> None:
        self._draw()
        self._out.write(failures(self._steps) + warnings(self._steps))
        self._out.flush()

    def _draw(self) -> None:
        now = self._drawn_at = self._clock()
        columns, rows = self._size()
        steps = self._steps.shown()
        done = sum(1 for step in steps if step.completed)
        head = f"[+] Building {now - self._began:.1f}s ({done}/{len(steps)})"
        lines = [line for step in steps for line in self._lines(step, now, columns)]
        picture = [head, *lines[-max(rows - 2, 1) :]]
        up = f"\x1b[{self._height}A" if self._height else ""
        self._out.write(up + "".join(f"\r\x1b[2K{line[: columns - 1]}\n" for line in picture))
        extra = self._height - len(picture)
        if extra > 0:
            self._out.write("\x1b[2K\n" * extra + f"\x1b[{extra}A")
        self._height = len(picture)
        self._out.flush()

    @staticmethod
    def _lines(step: Step, now: float, columns: int) -> list[str]:
        time_text = f"{step.duration(now):.1f}s"
        state = "CACHED " if step.cached else "ERROR " if step.error else ""
        name = f" => {state}{step.name}"
        width = columns - len(time_text) - 2
        out = [f"{name[:width]:<{max(width, 1)}} {time_text}"]
        if not step.completed:
            out += [f" => => {task.name} {progress_text(task)}" for task in list(step.tasks.values())[-3:]]
        if not step.completed or step.error:
            out += [f" => => # {line}" for line in step.last_lines[-_LINES_PER_STEP:]]
        return out
