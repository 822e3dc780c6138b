"""How a build looks, display by display."""

from __future__ import annotations

import io
import json

from google.protobuf.timestamp_pb2 import Timestamp

from client.progress import make_display
from client.progress.plain import PlainDisplay
from client.progress.raw_json import RawJsonDisplay
from client.progress.steps import size_text
from client.progress.tty import TtyDisplay
from shared.pb import control_pb2 as pb


def at(seconds: float) -> Timestamp:
    return Timestamp(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


A = pb.Vertex(digest="a", name="load", started=at(100))
A_DONE = pb.Vertex(digest="a", name="load", started=at(100), completed=at(101.25))
B_CACHED = pb.Vertex(digest="b", name="RUN x", started=at(101), completed=at(101), cached=True)
C = pb.Vertex(digest="c", name="RUN y", started=at(101))
C_FAILED = pb.Vertex(digest="c", name="RUN y", started=at(101), completed=at(103), error="exit code: 3")

STORY = [
    pb.StatusResponse(vertexes=[A, pb.Vertex(digest="z", name="not started")]),
    pb.StatusResponse(statuses=[pb.VertexStatus(ID="transferring:", vertex="a", current=1500, timestamp=at(100.5))]),
    pb.StatusResponse(vertexes=[A_DONE, B_CACHED, C]),
    pb.StatusResponse(logs=[pb.VertexLog(vertex="c", timestamp=at(101.5), stream=1, msg=b"one\ntw")]),
    pb.StatusResponse(logs=[pb.VertexLog(vertex="c", timestamp=at(102), stream=1, msg=b"o\n")]),
    pb.StatusResponse(vertexes=[C_FAILED], warnings=[pb.VertexWarning(vertex="c", short=b"odd")]),
]


def test_plain() -> None:
    """One header a step, whole lines with their time, how each ended, and the failed step's output once more."""
    out = io.StringIO()
    display = PlainDisplay(out)
    for response in STORY:
        display.update(response)
    display.close()

    assert out.getvalue().splitlines() == [
        "#1 load",
        "#1 transferring: 1.50kB",
        "#1 DONE 1.2s",
        "",
        "#2 RUN x",
        "#2 CACHED",
        "",
        "#3 RUN y",
        "#3 0.500 one",
        "#3 1.000 two",
        "#3 WARN: odd",
        "#3 ERROR: exit code: 3",
        "------",
        " > RUN y:",
        "one",
        "two",
        "------",
    ]


def test_plain_cancelled_step() -> None:
    out = io.StringIO()
    display = PlainDisplay(out)
    display.update(pb.StatusResponse(vertexes=[pb.Vertex(digest="a", name="x", started=at(1), completed=at(2), error="context canceled")]))
    display.close()
    assert out.getvalue() == "#1 x\n#1 CANCELED\n"


def test_tty() -> None:
    """The picture replaces itself and never is wider than the screen."""
    out, now = io.StringIO(), [100.0]
    display = TtyDisplay(out, clock=lambda: now[0], size=lambda: (30, 10))
    for response in STORY:
        now[0] += 1
        display.update(response)
    display.close()

    last = out.getvalue().rsplit("\x1b[", 1)[0].split("[+] Building")[-1]
    assert "(3/3)" in last
    assert "CACHED RUN x" in last
    assert all(len(line.replace("\x1b[2K", "").replace("\r", "")) < 30 for line in last.splitlines()[1:])
    assert " > RUN y:" in out.getvalue()
    assert out.getvalue().endswith("1 warning found:\n - odd\n")


def test_raw_json() -> None:
    out = io.StringIO()
    display = RawJsonDisplay(out)
    for response in STORY:
        display.update(response)
    documents = [json.loads(line) for line in out.getvalue().splitlines()]

    assert documents[2]["vertexes"][0]["completed"] == "1970-01-01T00:01:41.250000000Z"
    assert documents[2]["vertexes"][1]["cached"] is True
    assert documents[3]["logs"][0]["data"] == "b25lCnR3"
    assert "logs" not in documents[0]


def test_choice() -> None:
    assert isinstance(make_display("auto", io.StringIO()), PlainDisplay)
    quiet = make_display("quiet", io.StringIO())
    quiet.update(STORY[0])


def test_sizes() -> None:
    assert [size_text(n) for n in (0, 999, 1500, 2_500_000, 3 * 10**9, 4 * 10**12)] == [
        "0B",
        "999B",
        "1.50kB",
        "2.50MB",
        "3.00GB",
        "4.00TB",
    ]
