"""The progress of builds, followed once per build from `build.<ref>.events` and shared by all who ask for it."""

import asyncio
from collections.abc import AsyncIterator, Callable

from services.gateway.adapters.status_codec import status_response
from services.gateway.core.status import Batch, StatusView, Tally, split
from shared.bus.ports import Bus
from shared.errors import BuildmeshError, InvalidInput
from shared.run.clock import Clock
from shared.wire import subjects
from shared.wire.build import BuildEvents
from shared.wire.codec import Codec

KEPT_AFTER_END = 10.0
"""Seconds for which the progress of an ended build can still be asked for (BuildKit solver/jobs.go)."""


class Recording:
    """Progress of one build as marshalled StatusResponses. Grows until `finish`."""

    def __init__(self, ref: str, clock: Clock) -> None:
        self.ref = ref
        self._clock = clock
        self._view = StatusView()
        self._stored: list[bytes] = []
        self._waiting: list[asyncio.Future[None]] = []
        self.ended = False
        self.heard = False
        """Whether the build's solver has said anything yet."""

    def feed(self, events: BuildEvents) -> None:
        """Take one batch of the build's log."""
        if self.ended:
            return
        self.heard = True
        self._store(self._view.feed([*events.vertices, *events.statuses, *events.logs, *events.warnings]))
        if events.last:
            self.finish()

    def finish(self) -> None:
        """No more will come; open vertices end as cancelled. Idempotent."""
        if not self.ended:
            self._store(self._view.finish(now=self._clock.now_ns()))
            self.ended = True
        self._wake()

    def tally(self) -> Tally:
        """Counts for the history."""
        return self._view.tally()

    def stored(self) -> list[bytes]:
        """All messages so far."""
        return self._stored

    async def messages(self) -> AsyncIterator[list[bytes]]:
        """Everything so far, then live, until the build has ended."""
        taken = 0
        while True:
            if taken < len(self._stored):
                batch = self._stored[taken:]
                taken += len(batch)
                yield batch
            elif self.ended:
                return
            else:
                await self.changed()

    async def changed(self) -> None:
        """Wait for the next message, the first word of the solver, or the end."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def _store(self, batch: Batch) -> None:
        self._stored += [status_response(part).SerializeToString() for part in split(batch)]
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()


class Recordings:
    """The recordings of this gateway: of its own builds, and of others that somebody asked it for."""

    def __init__(self, bus: Bus, codec: Codec, clock: Clock, tasks: asyncio.TaskGroup, report: Callable[[str], None]) -> None:
        self._bus, self._codec, self._clock, self._tasks, self._report = bus, codec, clock, tasks, report
        self._open: dict[str, tuple[Recording, asyncio.Task[None]]] = {}

    def get(self, ref: str) -> Recording | None:
        """The one that is being made or was finished a moment ago."""
        found = self._open.get(ref)
        return found[0] if found else None

    def start(self, ref: str) -> Recording:
        """Follow the events of a build that is known to exist; joins the recording under way, replaces an ended one."""
        found = self.get(ref)
        if found is not None and not found.ended:
            return found
        recording = Recording(ref, self._clock)
        self._open[ref] = (recording, self._tasks.create_task(self._follow(recording), name=f"events of {ref}"))
        return recording

    def finish(self, recording: Recording) -> None:
        """End it even though its log has not."""
        recording.finish()
        self._forget_later(recording)

    async def _follow(self, recording: Recording) -> None:
        try:
            async with self._bus.follow(subjects.build_events(recording.ref)) as log:
                async for delivery in log:
                    self._feed(recording, delivery.data)
                    if recording.ended:
                        break
        except BuildmeshError as error:  # progress is lost, the build is not
            self._report(f"events of build {recording.ref} can't be followed: {error}")
        self.finish(recording)

    def _feed(self, recording: Recording, data: bytes) -> None:
        try:
            events = self._codec.decode(data).body
        except InvalidInput as error:
            self._report(f"events of build {recording.ref}: {error}")
            return
        if isinstance(events, BuildEvents):
            recording.feed(events)

    def _forget_later(self, recording: Recording) -> None:
        asyncio.get_running_loop().call_later(KEPT_AFTER_END, self._forget, recording)

    def _forget(self, recording: Recording) -> None:
        found = self._open.get(recording.ref)
        if found is not None and found[0] is recording:
            found[1].cancel()
            del self._open[recording.ref]

    def close(self) -> None:
        """Stop following."""
        for recording, task in self._open.values():
            recording.finish()
            task.cancel()

    def statistics(self) -> dict[str, int]:
        """How many recordings are held, and their bytes."""
        return {"recordings": len(self._open), "bytes": sum(len(m) for r, _ in self._open.values() for m in r.stored())}
