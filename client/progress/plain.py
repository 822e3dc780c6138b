"""A line for everything that happens, for logs and pipes; the shape is BuildKit's (util/progress/progressui)."""

from __future__ import annotations

from typing import TextIO

from client.progress.steps import Step, Steps, failures, progress_text, seconds
from shared.pb import control_pb2


class PlainDisplay:
    """Writes to `out`, a header for a step when it begins to speak after another one."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._steps = Steps()
        self._announced: set[str] = set()
        self._finished: set[str] = set()
        self._speaking = ""
        self._said: dict[tuple[str, str], str] = {}
        self._open_line: dict[str, bytes] = {}

    def update(self, response: control_pb2.StatusResponse) -> None:
        """Step by step: a header, what it said, how it ended."""
        self._steps.update(response)
        named = dict.fromkeys(vertex.digest for vertex in response.vertexes)
        others = (*(log.vertex for log in response.logs), *(status.vertex for status in response.statuses))
        for digest in {**named, **dict.fromkeys(others)}:
            step = self._steps.of(digest)
            if step.number and digest not in self._announced:
                self._announced.add(digest)
                self._header(step)
            for status in response.statuses:
                if status.vertex == digest:
                    self._task(step, status.ID)
            for log in response.logs:
                if log.vertex == digest:
                    self._log(step, log)
            for warning in response.warnings:
                if warning.vertex == digest:
                    self._say(step, f"WARN: {warning.short.decode('utf-8', 'replace')}")
            self._end(step)
        self._out.flush()

    def tick(self) -> None:
        """Nothing moves by itself."""

    def close(self) -> None:
        self._out.write(failures(self._steps))
        self._out.flush()

    def _header(self, step: Step) -> None:
        if self._speaking:
            self._out.write("\n")
        self._speaking = step.digest
        self._out.write(f"#{step.number} {step.name}\n")

    def _say(self, step: Step, text: str) -> None:
        if not step.number:
            return
        if self._speaking != step.digest:
            self._header(step)
        self._out.write(f"#{step.number} {text}\n")

    def _log(self, step: Step, log: control_pb2.VertexLog) -> None:
        """Whole lines only; the rest waits for more."""
        *lines, rest = (self._open_line.pop(step.digest, b"") + log.msg).split(b"\n")
        if rest:
            self._open_line[step.digest] = rest
        offset = max(seconds(log.timestamp) - step.started, 0.0)
        for line in lines:
            self._say(step, f"{offset:.3f} {line.decode('utf-8', 'replace').rstrip(chr(13))}")

    def _task(self, step: Step, task_id: str) -> None:
        task = step.tasks[task_id]
        text = " ".join(filter(None, (task_id, progress_text(task), "done" if task.done else "")))
        if self._said.get((step.digest, task_id)) != text and (task.done or (step.digest, task_id) not in self._said):
            self._said[step.digest, task_id] = text
            self._say(step, text)

    def _end(self, step: Step) -> None:
        if not step.completed or step.digest in self._finished or not step.number:
            return
        self._finished.add(step.digest)
        rest = self._open_line.pop(step.digest, b"")
        if rest:
            self._say(step, rest.decode("utf-8", "replace"))
        if step.error:
            self._say(step, "CANCELED" if step.error.endswith("context canceled") else f"ERROR: {step.error}")
        elif step.cached:
            self._say(step, "CACHED")
        else:
            self._say(step, f"DONE {step.duration(step.completed):.1f}s")
