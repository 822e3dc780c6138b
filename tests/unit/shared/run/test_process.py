"""A process: readiness, drain on SIGTERM, exit status."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InvalidInput
from shared.run.backends import MeshConfig
from shared.run.mesh import Mesh
from shared.run.process import Program, main, run_loop, run_program
from shared.wire.messages import BridgeReadFile, FileData

ASK = BridgeReadFile(ref="r", path="p")


def config(tmp_path: Path, **fields: Any) -> MeshConfig:
    return MeshConfig(state=tmp_path, **fields)


async def test_sigterm_drains_callers_before_those_who_serve_them(tmp_path: Path) -> None:
    """The front is still answered by the back while it ends."""
    order: list[str] = []
    began, serving = asyncio.Event(), asyncio.Event()

    async def back(mesh: Mesh) -> None:
        async def slow(request: BridgeReadFile, served: Any) -> FileData:
            await asyncio.sleep(0.2)
            return FileData(data=b"answer")

        def ready() -> None:
            mesh.readiness.up("back")
            serving.set()

        await mesh.calls.serve("call.back", {BridgeReadFile: slow}, ready=ready)
        order.append("back ended")

    async def front(mesh: Mesh) -> None:
        mesh.readiness.up("front")
        await serving.wait()
        began.set()
        await mesh.readiness.draining.wait()
        answer = await mesh.calls.call("call.back", ASK)
        order.append(answer.data.decode())

    def ready() -> None:
        order.append("ready")
        os.kill(os.getpid(), signal.SIGTERM)

    program = Program(mesh=config(tmp_path), services={"front": front, "back": back}, tiers=(("front",), ("back",)), on_ready=ready)
    async with asyncio.timeout(10):
        await run_program(program)

    assert order == ["ready", "answer", "back ended"]


async def test_what_takes_too_long_is_cancelled(tmp_path: Path) -> None:
    cancelled: list[bool] = []

    async def stubborn(mesh: Mesh) -> None:
        mesh.readiness.up("stubborn")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    program = Program(
        mesh=config(tmp_path, drain_seconds=0.1),
        services={"stubborn": stubborn},
        on_ready=lambda: os.kill(os.getpid(), signal.SIGTERM),
    )
    async with asyncio.timeout(10):
        await run_program(program)

    assert cancelled == [True]


async def test_a_second_signal_cancels_at_once(tmp_path: Path) -> None:
    async def stubborn(mesh: Mesh) -> None:
        mesh.readiness.up("stubborn")
        await mesh.readiness.draining.wait()
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)

    program = Program(mesh=config(tmp_path), services={"stubborn": stubborn}, on_ready=lambda: os.kill(os.getpid(), signal.SIGTERM))
    async with asyncio.timeout(10):
        await run_program(program)


def test_a_failure_ends_all_and_is_told(tmp_path: Path, capsys: Any) -> None:
    async def failing(mesh: Mesh) -> None:
        raise InvalidInput("no such runtime")

    async def patient(mesh: Mesh) -> None:
        await asyncio.sleep(60)

    assert run_loop(Program(mesh=config(tmp_path), services={"failing": failing, "patient": patient})) == 1
    assert capsys.readouterr().err.strip().endswith("error: no such runtime")


def test_our_own_fault_is_told_with_its_place_only(tmp_path: Path, capsys: Any) -> None:
    async def failing(mesh: Mesh) -> None:
        raise KeyError("x")

    assert run_loop(Program(mesh=config(tmp_path), services={"failing": failing})) == 1
    said = capsys.readouterr().err
    assert "KeyError: 'x'" in said
    assert "Exception Group" not in said


def test_main_reads_its_own_table(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f'[mesh]\nstate = "{tmp_path}/state"\n[solver]\ninstance = "abc"\n[gateway]\nwhatever = 1\n')
    seen: list[MeshConfig] = []

    async def run(found: MeshConfig, mesh: Mesh) -> None:
        await asyncio.sleep(0)
        seen.append(found)

    assert main("solver", run, MeshConfig, ["--config", str(file)]) == 0
    assert seen[0].instance == "abc"


def test_main_names_what_is_wrong(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[mesh]\nbuss = 1\n")

    async def run(found: MeshConfig, mesh: Mesh) -> None:
        raise AssertionError

    assert main("solver", run, MeshConfig, ["--config", str(file)]) == 1
    assert "unknown key 'mesh.buss' in the configuration: did you mean 'bus'?" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1:0", "tcp://127.0.0.1:0"])
async def test_health_is_served_while_it_runs(tmp_path: Path, address: str) -> None:
    async def brief(mesh: Mesh) -> None:
        mesh.readiness.up("brief")
        await asyncio.sleep(0)

    await run_program(Program(mesh=config(tmp_path, http=address), services={"brief": brief}))
