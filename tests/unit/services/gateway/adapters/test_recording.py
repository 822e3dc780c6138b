"""One recording, many readers."""

import asyncio

from services.gateway.adapters.recording import Recording
from shared.model import Digest, VertexEvent
from shared.pb import control_pb2
from shared.run.clock import FixedClock
from shared.wire.build import BuildEvents

A = Digest("sha256:" + "a" * 64)


def events(**fields: object) -> BuildEvents:
    return BuildEvents(vertices=(VertexEvent(digest=A, name="n", **fields),))  # type: ignore[arg-type]


async def read(recording: Recording) -> list[control_pb2.StatusResponse]:
    return [control_pb2.StatusResponse.FromString(m) async for batch in recording.messages() for m in batch]


async def test_early_and_late_readers_see_the_same() -> None:
    """Replay, then live, then the end."""
    recording = Recording("b1", FixedClock())
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        early = tasks.create_task(read(recording))
        await asyncio.sleep(0)
        recording.feed(events(started=1))
        middle = tasks.create_task(read(recording))
        await asyncio.sleep(0)
        recording.feed(BuildEvents(last=True))
    late = await read(recording)

    assert early.result() == middle.result() == late
    assert [v.error for m in late for v in m.vertexes] == ["", "context canceled"]


async def test_nothing_after_the_end() -> None:
    """A second solver's stragglers change nothing; finishing twice is harmless."""
    recording = Recording("b1", FixedClock())
    recording.finish()
    recording.feed(events(started=1))
    recording.finish()

    assert await read(recording) == []
