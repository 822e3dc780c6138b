"""One Nomad with the fleet of deploy/nomad for all tests here."""

import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.nomad.fleet import Fleet, by_raw_exec, fleet
from tests.kit.parts.nomad import Nomad, nomad_agent


@pytest.fixture(scope="package")
def nomad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nomad]:
    with nomad_agent(tmp_path_factory.mktemp("nomad")) as agent:
        yield agent


@pytest.fixture(scope="package")
def mesh(nomad: Nomad, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with fleet(nomad, folder, by_raw_exec(folder)) as started:
        yield started


@pytest.fixture
def build(mesh: Fleet, busybox: str, tmp_path: Path) -> Callable[[str], None]:
    """Two steps that depend on each other, on content of its own; the output must be that content. Through any gateway that is ready."""

    def one(name: str) -> None:
        client = random.choice(mesh.doors())
        folder, out = tmp_path / name, tmp_path / f"{name}-out"
        folder.mkdir()
        steps = f"RUN sleep 0.3; echo {name} > /first\nRUN sleep 0.3; cat /first > /second\n"
        (folder / "Dockerfile").write_text(f"FROM {busybox}\n{steps}FROM scratch\nCOPY --from=0 /second /\n")
        said = subprocess.run(
            [*client.build_argv(folder), "--output", f"type=local,dest={out}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert said.returncode == 0, said.stderr[-4000:]
        assert (out / "second").read_text() == f"{name}\n"

    return one
