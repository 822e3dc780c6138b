"""Which runtime is taken: by name or from PATH, new enough, and a clear word when there is none."""

from pathlib import Path

import pytest

from services.executor.adapters.runtime import find_runtime
from shared.errors import Unavailable


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(folder: Path, name: str, script: str) -> str:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def version(folder: Path, name: str, number: str) -> str:
    return program(folder, name, f"echo {name.removeprefix('buildkit-')} version {number}")


def test_the_first_by_name_is_taken(path: Path) -> None:
    version(path, "crun", "1.21")
    runc = version(path, "runc", "1.1.5+ds1")
    assert find_runtime() == runc

    buildkit = version(path, "buildkit-runc", "1.3.0")
    assert find_runtime() == buildkit


def test_crun_stands_in_for_a_missing_or_old_runc(path: Path) -> None:
    crun = version(path, "crun", "1.21")
    assert find_runtime() == crun

    version(path, "runc", "1.0.3")
    assert find_runtime() == crun


def test_all_that_are_too_old_are_named_with_what_is_wanted(path: Path) -> None:
    version(path, "runc", "1.0.3")
    version(path, "crun", "1.8.1")

    with pytest.raises(Unavailable) as refused:
        find_runtime()

    assert refused.value.message == (
        f"no OCI runtime that will do: {path}/runc: runc 1.0.3 is too old: runc 1.1.0 or newer is wanted; "
        f"{path}/crun: crun 1.8.1 is too old: crun 1.15 or newer is wanted"
    )


def test_the_one_that_was_named_is_the_only_one_asked(path: Path) -> None:
    version(path, "runc", "1.1.5")
    mine = version(path, "crun", "1.21")
    assert find_runtime("crun") == find_runtime(mine) == mine

    with pytest.raises(Unavailable, match=r"looked for youki"):
        find_runtime("youki")


@pytest.mark.parametrize(
    ("script", "word"),
    [("exit 3", "exit status 3"), ("echo libyajl is missing >&2; exit 127", "libyajl is missing"), ("echo strange", "")],
)
def test_one_that_does_not_run_is_told(path: Path, script: str, word: str) -> None:
    mine = program(path, "runc", script)

    if not word:
        assert find_runtime() == mine
    else:
        with pytest.raises(Unavailable, match=word):
            find_runtime()


def test_nothing_on_path(path: Path) -> None:
    with pytest.raises(Unavailable, match=r"install runc \(looked for buildkit-runc, runc, crun\)"):
        find_runtime()
