"""What the other verbs print, and how the command finds them."""

from __future__ import annotations

import argparse

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from client.cli import doctor, main, reach
from client.cli.build import metadata
from client.cli.du import summary
from client.cli.history import listing
from client.cli.prune import duration
from client.cli.table import age, table
from client.cli.workers import platform_text
from shared.errors import BuildFailed, NotFound
from shared.pb import control_pb2, ops_pb2


def test_usage_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([]) == 2
    assert main.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in main.VERBS)


def test_unknown_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["bild"]) == 2
    assert "'bild'" in capsys.readouterr().err


def test_an_interrupt_while_a_verb_is_loaded_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.importlib, "import_module", interrupted)
    assert main.main(["build", "."]) == 130


@pytest.mark.parametrize("verb", ["build", "du", "prune", "workers", "history"])
def test_no_daemon(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb says which address did not answer, and fails."""
    assert main.main([verb, "--addr", "unix:///nowhere/x.sock"]) == 1
    assert "unix:///nowhere/x.sock" in capsys.readouterr().err


def test_a_folder_that_is_missing_is_told_before_a_daemon_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["build", "--addr", "unix:///nowhere/x.sock", "--local", "context=/nowhere/x"]) == 2
    assert capsys.readouterr().err == "error: context: /nowhere/x is not a folder\n"


def test_address_from_the_environment() -> None:
    assert reach.default_address({}) == "unix:///run/buildmesh/buildmeshd.sock"
    assert reach.default_address({"BUILDKIT_HOST": "tcp://b"}) == "tcp://b"
    assert reach.default_address({"BUILDKIT_HOST": "tcp://b", "BUILDMESH_HOST": "tcp://m"}) == "tcp://m"


def test_errors_as_buildctl_prints_them() -> None:
    assert reach.told(BuildFailed("exit code: 3")) == "exit code: 3"
    assert reach.told(NotFound("no such job x")) == "NotFound: no such job x"


def test_table() -> None:
    assert table([("A", "BB"), ("CCC", "")]) == "A    BB\nCCC"


def test_age() -> None:
    assert [age(t, now=100_000) for t in (0, 99_990, 99_880, 92_000, 10_000)] == [
        "",
        "10 seconds ago",
        "2 minutes ago",
        "2 hours ago",
        "1 day ago",
    ]


def test_duration() -> None:
    assert [duration(text) for text in ("0", "48h", "1h30m", "1.5s", "20ms")] == [
        0,
        172_800 * 10**9,
        5400 * 10**9,
        1_500_000_000,
        20_000_000,
    ]
    for text in ("", "5", "h", "1x", "1h 2m"):
        with pytest.raises(argparse.ArgumentTypeError):
            duration(text)


def test_du() -> None:
    """Largest first, mutable ones marked."""
    records = [
        control_pb2.UsageRecord(ID="a", Size=1000, InUse=True),
        control_pb2.UsageRecord(ID="b", Size=2_500_000, Mutable=True),
    ]
    assert summary(records).splitlines()[1:] == ["b*  true         2.50MB", "a   false        1.00kB"]


def test_history() -> None:
    record = control_pb2.BuildHistoryRecord(
        Ref="r", CreatedAt=Timestamp(seconds=100), CompletedAt=Timestamp(seconds=103), numCompletedSteps=2, numTotalSteps=3
    )
    assert listing([record]).splitlines()[1].split()[:3] == ["r", "completed", "2/3"]
    assert "3.0s" in listing([record])


def test_workers() -> None:
    assert platform_text(ops_pb2.Platform(OS="linux", Architecture="arm", Variant="v7")) == "linux/arm/v7"


def test_metadata_unpacks_json() -> None:
    answer = {"containerimage.descriptor": "eyJhIjoxfQ==", "containerimage.digest": "sha256:x", "image.name": "abcd"}
    assert metadata(answer) == {"containerimage.descriptor": {"a": 1}, "containerimage.digest": "sha256:x", "image.name": "abcd"}


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    """A missing runtime is a failure with its cure; a daemon that doesn't run is only a note."""
    assert doctor._runtime(lambda name: None).good is False
    assert main.main(["doctor", "--addr", "unix:///nowhere/x.sock"]) in (0, 1)
    text = capsys.readouterr().out
    assert "note daemon at unix:///nowhere/x.sock" in text
    assert "→ buildmesh up" in text
