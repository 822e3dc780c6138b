"""Builds in a service's log."""

import io
import json
from typing import Any

from shared.run import build_log
from shared.run.build_log import BuildLog
from shared.telemetry import Level, Log, LogFormat, Tracer


def told(level: Level, *builds: str) -> list[dict[str, Any]]:
    """What is written when spans of these builds end."""
    stream = io.StringIO()
    tracer = Tracer("solver", (BuildLog(Log(level=level, format=LogFormat.JSON, stream=stream)),))
    for build in builds:
        with tracer.span("RunOp", ""):
            if build:
                tracer.of_build(build)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_line_for_each_build() -> None:
    lines = told(Level.INFO, "one", "two", "one", "")

    assert [line["build"] for line in lines] == ["one", "two"]
    assert all(len(line["traceID"]) == 32 for line in lines)


def test_each_piece_of_work_for_those_who_look_for_a_fault() -> None:
    lines = told(Level.DEBUG, "one", "one")

    assert [line.get("work", "") for line in lines] == ["", "RunOp", "RunOp"]


def test_builds_are_not_remembered_without_end() -> None:
    many = [f"b{n}" for n in range(build_log.REMEMBERED + 1)]

    assert [line["build"] for line in told(Level.INFO, *many, "b0", "b2")][-1] == "b0"
