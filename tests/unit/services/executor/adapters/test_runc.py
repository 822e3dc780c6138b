"""What the adapter reads of a runtime: its log, its state files, its exit. Real containers: tests/e2e/executor."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.executor.adapters.runc import Exit, Runc, runtime_error

SPEC: dict[str, Any] = {"linux": {"cgroupsPath": "/buildmesh-none/x"}}
HYBRID = "cgroups in hybrid mode not supported, drop all controllers from cgroupv2"


def runtime(folder: Path, script: str) -> Runc:
    """A stand-in whose `run` does what the script says; `$log` is the file given by --log."""
    file = folder / "runtime"
    file.write_text(f'#!/bin/sh\nlog="$4"\n{script}\n')
    file.chmod(0o755)
    return Runc(str(file), folder / "state")


async def run(runc: Runc, bundle: Path) -> tuple[Exit, list[tuple[int, bytes]]]:
    heard: list[tuple[int, bytes]] = []
    ended = await runc.run("x", bundle, SPEC, lambda stream, data: heard.append((stream, data)))
    return ended, heard


async def test_a_runtime_that_refuses_the_machine_says_why(tmp_path: Path) -> None:
    """crun's own words on a kernel with hybrid cgroups, as it logs them."""
    line = json.dumps({"msg": HYBRID, "level": "error", "time": "2026-11-23T04:04:39.107820Z"})
    ended, heard = await run(runtime(tmp_path, f"echo '{line}' >> \"$log\"; exit 1"), tmp_path)

    assert (ended, heard) == (Exit(code=1, out_of_memory=False), [])
    assert runtime_error(tmp_path) == HYBRID


async def test_output_and_exit_status_are_the_program_s(tmp_path: Path) -> None:
    ended, heard = await run(runtime(tmp_path, "echo out; echo err >&2; exit 7"), tmp_path)

    assert ended == Exit(code=7, out_of_memory=False)
    assert sorted(heard) == [(1, b"out\n"), (2, b"err\n")]


async def test_a_signal_is_told_as_a_shell_does(tmp_path: Path) -> None:
    ended, _ = await run(runtime(tmp_path, "kill -9 $$"), tmp_path)

    assert ended.code == 137


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([], ""),
        (["no json"], ""),
        (['{"level":"warning","msg":"w"}'], ""),
        (['{"level":"error","msg":"first"}', '{"level":"error","msg":"last"}', '{"level":"info","msg":"i"}'], "last"),
    ],
)
def test_the_last_error_counts(tmp_path: Path, lines: list[str], error: str) -> None:
    (tmp_path / "runc.log").write_text("\n".join(lines))

    assert runtime_error(tmp_path) == error


@pytest.mark.parametrize(
    ("file", "text", "pid"),
    [("state.json", '{"init_process_pid": 42}', 42), ("status", '{"pid": 43}', 43), ("state.json", "{", 0), ("other", "", 0)],
    ids=["runc", "crun", "half written", "none"],
)
def test_the_init_s_pid(tmp_path: Path, file: str, text: str, pid: int) -> None:
    runc = runtime(tmp_path, "")
    (tmp_path / "state/x").mkdir()
    (tmp_path / "state/x" / file).write_text(text)

    assert runc.init_pid("x") == pid


def test_what_an_earlier_process_left_is_deleted(tmp_path: Path) -> None:
    """By the runtime's own `delete --force`; a second clearing finds nothing."""
    runc = runtime(tmp_path, f'echo "$*" >> {tmp_path}/asked')
    (tmp_path / "state/a").mkdir()

    assert [runc.clear(), runc.clear()] == [1, 0]
    assert (tmp_path / "asked").read_text() == f"--root {tmp_path}/state delete --force a\n"
