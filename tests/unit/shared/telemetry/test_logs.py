"""Log lines."""

import io
import json

import pytest

from shared.telemetry import Level, Log, LogFormat
from shared.telemetry.logs import parse_level


def test_text_lines_are_logfmt() -> None:
    stream = io.StringIO()
    Log(stream=stream, fields={"service": "solver"}).bind(build="b1").info("claimed a build", ref="x y", n=1)

    line = stream.getvalue()
    assert line.startswith('time="2')
    assert line.endswith(' level=info msg="claimed a build" service=solver build=b1 ref="x y" n=1\n')


def test_json_lines_carry_the_trace() -> None:
    stream = io.StringIO()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    Log(stream=stream, format=LogFormat.JSON, current=lambda: parent).warning("odd", error=ValueError("x"))

    record = json.loads(stream.getvalue())
    assert (record["level"], record["msg"], record["error"], record["traceID"]) == (
        "warning",
        "odd",
        "x",
        "0af7651916cd43dd8448eb211c80319c",
    )


def test_lines_within_a_build_name_it() -> None:
    stream = io.StringIO()
    context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01;build=b1"
    log = Log(stream=stream, format=LogFormat.JSON, current=lambda: context)
    log.info("x")
    log.info("x", build="another")

    assert [json.loads(line)["build"] for line in stream.getvalue().splitlines()] == ["b1", "another"]


def test_nothing_can_forge_a_line() -> None:
    stream = io.StringIO()
    Log(stream=stream).error("x", name='a"\nlevel=info msg=forged')

    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize(("level", "lines"), [(Level.DEBUG, 4), (Level.INFO, 3), (Level.WARNING, 2), (Level.ERROR, 1)])
def test_levels(level: Level, lines: int) -> None:
    stream = io.StringIO()
    log = Log(stream=stream, level=level)
    for say in (log.debug, log.info, log.warning, log.error):
        say("x")

    assert stream.getvalue().count("\n") == lines


def test_level_names() -> None:
    assert [parse_level(t) for t in ("warn", "warning", "trace", "Info")] == [Level.WARNING, Level.WARNING, Level.TRACE, Level.INFO]
    with pytest.raises(ValueError, match="loud"):
        parse_level("loud")
