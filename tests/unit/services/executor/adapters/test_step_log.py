"""A step's output: clipped per stream, its end shown when the step failed."""

from services.executor.adapters.step_log import StepLog
from services.executor.core.log_limit import LogLimits


class Report:
    def __init__(self) -> None:
        self.heard: list[tuple[int, bytes]] = []

    def status(self, id: str, *, current: int = 0, total: int = 0, name: str = "", done: bool = False) -> None: ...

    def log(self, stream: int, data: bytes) -> None:
        self.heard.append((stream, data))


async def test_streams_are_told_apart() -> None:
    log = StepLog(report := Report(), LogLimits())
    log.write(1, b"out")
    log.write(2, b"err")

    assert report.heard == [(1, b"out"), (2, b"err")]
    assert (log.said(1), log.said(2)) == (True, True)


async def test_silence_is_known() -> None:
    log = StepLog(Report(), LogLimits())
    log.write(1, b"x")

    assert not log.said(2)


async def test_the_limit_is_each_stream_s_own_and_the_end_comes_when_the_step_failed() -> None:
    log = StepLog(report := Report(), LogLimits(size=4, speed=-1))
    log.write(1, b"123456789")
    log.write(1, b"the end")
    log.write(2, b"ok")
    shown = b"".join(data for stream, data in report.heard if stream == 1)
    assert shown.startswith(b"1234\n[output clipped") and b"the end" not in shown
    assert (2, b"ok") in report.heard

    report.heard.clear()
    log.failed()
    assert [stream for stream, _ in report.heard] == [1]
    assert report.heard[0][1].endswith(b"the end")


async def test_the_echo_is_what_was_shown(capfdbinary: object) -> None:
    log = StepLog(Report(), LogLimits(size=2, speed=-1), echo=True)
    log.write(1, b"abcd")

    assert capfdbinary.readouterr().err.startswith(b"ab\n[output clipped")  # type: ignore[attr-defined]
