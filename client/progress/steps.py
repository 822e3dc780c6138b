"""The state of a build's steps, as told by StatusResponses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from shared.pb import control_pb2

_KEPT_LINES: Final = 20


def seconds(stamp: object) -> float:
    """Of a protobuf Timestamp."""
    return float(getattr(stamp, "seconds", 0)) + float(getattr(stamp, "nanos", 0)) / 1e9


@dataclass(slots=True, kw_only=True)
class Task:
    """A part of a step, such as a transfer."""

    name: str
    current: int = 0
    total: int = 0
    done: bool = False


@dataclass(slots=True, kw_only=True)
class Step:
    """One vertex. `number` is its place in the order of appearance, from 1; times in seconds, 0 = not yet."""

    digest: str
    number: int = 0
    name: str = ""
    started: float = 0.0
    completed: float = 0.0
    cached: bool = False
    error: str = ""
    tasks: dict[str, Task] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    open_line: bytes = b""

    def keep(self, output: bytes) -> None:
        """Remember the end of its output, by lines; the last one may go on."""
        *lines, self.open_line = (self.open_line + output.replace(b"\r", b"\n")).split(b"\n")
        self.lines += [line.decode("utf-8", "replace") for line in lines if line]
        del self.lines[:-_KEPT_LINES]

    @property
    def last_lines(self) -> list[str]:
        return [*self.lines, self.open_line.decode("utf-8", "replace")] if self.open_line else list(self.lines)

    def duration(self, now: float) -> float:
        return max((self.completed or now) - self.started, 0.0) if self.started else 0.0


class Steps:
    """Collects; what came out of each response is left to the display."""

    def __init__(self) -> None:
        self.by_digest: dict[str, Step] = {}
        self.warnings: list[str] = []

    def update(self, response: control_pb2.StatusResponse) -> None:
        for vertex in response.vertexes:
            step = self.of(vertex.digest)
            step.name = vertex.name or step.name
            step.cached = step.cached or vertex.cached
            step.error = vertex.error or step.error
            if vertex.HasField("started"):
                step.started = seconds(vertex.started)
                step.number = step.number or 1 + sum(1 for other in self.by_digest.values() if other.number)
            step.completed = seconds(vertex.completed) if vertex.HasField("completed") else 0.0
        for log in response.logs:
            self.of(log.vertex).keep(log.msg)
        for status in response.statuses:
            task = self.of(status.vertex).tasks.setdefault(status.ID, Task(name=status.name or status.ID))
            task.current, task.total = status.current, status.total
            task.done = status.HasField("completed")
        self.warnings += [warning.short.decode("utf-8", "replace") for warning in response.warnings]

    def of(self, digest: str) -> Step:
        return self.by_digest.setdefault(digest, Step(digest=digest))

    def shown(self) -> list[Step]:
        """Those that have started, in order."""
        return sorted((step for step in self.by_digest.values() if step.number), key=lambda step: step.number)


def size_text(count: int) -> str:
    """As in `1.23MB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{count}B" if unit == "B" else f"{value:.2f}{unit}"
        value /= 1000
    return f"{value:.2f}TB"


def progress_text(task: Task) -> str:
    if task.total:
        return f"{size_text(task.current)} / {size_text(task.total)}"
    return size_text(task.current) if task.current else ""


def warnings(steps: Steps) -> str:
    """What the build warned of, for displays that keep no place for it while they run."""
    if not steps.warnings:
        return ""
    head = "1 warning found:" if len(steps.warnings) == 1 else f"{len(steps.warnings)} warnings found:"
    return "".join(f"{line}\n" for line in (head, *(f" - {text}" for text in steps.warnings)))


def failures(steps: Steps) -> str:
    """The ends of the failed steps' output, to be shown once more below everything."""
    out = []
    for step in steps.shown():
        if step.error and step.last_lines and not step.error.endswith("context canceled"):
            out += ["------", f" > {step.name}:", *step.last_lines, "------"]
    return "".join(f"{line}\n" for line in out)
