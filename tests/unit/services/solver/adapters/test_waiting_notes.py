"""The line that a waiting step shows."""

from collections.abc import Sequence

from services.solver.adapters.admission import Load
from services.solver.adapters.waiting_notes import WaitingNotes
from shared.model import LogChunk, Platform, Status

BUSY = Load(executors=2, slots=4, busy=4)


def test_each_text_is_said_once_and_ended_before_the_next() -> None:
    said: list[Status] = []

    def heard(statuses: Sequence[Status], logs: Sequence[LogChunk]) -> None:
        said.extend(statuses)

    notes = WaitingNotes("sha256:" + "1" * 64, Platform(os="linux", architecture="amd64"), heard, now_ns=lambda: 7)
    for ahead in (3, 3, 2):
        notes.say(ahead, BUSY)
    notes.end()
    notes.end()

    three = "waiting for an executor: 3 ahead, linux/amd64, 4 of 4 slots busy"
    two = three.replace("3 ahead", "2 ahead")
    assert [(s.id, bool(s.completed)) for s in said] == [(three, False), (three, True), (two, False), (two, True)]


def test_a_pool_without_executors_says_so() -> None:
    said: list[Status] = []
    notes = WaitingNotes("sha256:" + "1" * 64, Platform(os="linux", architecture="arm64"), lambda s, _: said.extend(s))

    notes.say(0, Load(executors=0, slots=0, busy=0))

    assert said[0].id == "waiting for an executor: 0 ahead, linux/arm64, no executor is there"
