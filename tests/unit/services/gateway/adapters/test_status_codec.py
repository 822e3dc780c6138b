"""Progress messages and the stored log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.adapters.status_codec import nanoseconds, pack_log, status_response, timestamp, unpack_log
from services.gateway.core.status import Batch
from shared.model import Digest, LogChunk, ProgressGroup, SourceInfo, SourcePosition, SourceRange, Status, VertexEvent, Warn

A = Digest("sha256:" + "a" * 64)


def test_every_kind_of_event() -> None:
    """Absent times stay absent: clients test for presence. Ranges always have both ends."""
    where = SourceRange(start=SourcePosition(line=0), end=SourcePosition(line=0))
    message = status_response(
        Batch(
            vertexes=[VertexEvent(digest=A, name="n", inputs=(A,), started=1_500_000_001, group=ProgressGroup(id="g", name="G"))],
            statuses=[Status(vertex=A, id="s", current=1, total=2, timestamp=3)],
            logs=[LogChunk(vertex=A, stream=2, data=b"\xff", timestamp=4)],
            warnings=[Warn(vertex=A, level=1, short=b"w", info=SourceInfo(filename="f", data=b"d"), ranges=(where,))],
        )
    )
    vertex = message.vertexes[0]

    assert (vertex.started.seconds, vertex.started.nanos, vertex.HasField("completed")) == (1, 500_000_001, False)
    assert (vertex.progressGroup.id, list(vertex.inputs)) == ("g", [A])
    assert not message.statuses[0].HasField("completed")
    assert message.logs[0].msg == b"\xff"
    assert message.warnings[0].ranges[0].HasField("start")
    assert message.warnings[0].ranges[0].HasField("end")


@given(st.integers(min_value=1, max_value=2**62))
def test_times_survive(ns: int) -> None:
    """To the nanosecond."""
    message = timestamp(ns)

    assert message is not None
    assert nanoseconds(message) == ns


@given(st.lists(st.binary(max_size=50)), st.integers(min_value=0, max_value=60))
def test_a_torn_log_gives_what_is_whole(messages: list[bytes], cut: int) -> None:
    """Every whole message before the tear, never a part of one."""
    blob = pack_log(messages)
    found = list(unpack_log(blob[: len(blob) - cut]))

    assert found == messages[: len(found)]
    if not cut:
        assert found == messages


@pytest.mark.parametrize("blob", [b"", b"\x01", b"\xff\xff\xff\xffabc"])
def test_garbage_is_no_message(blob: bytes) -> None:
    """A length beyond the end."""
    assert list(unpack_log(blob)) == []
