"""One daemon for each way to start, kept for the session; clients pointed at it; contexts to build."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.ways import WAYS, Way
from tests.kit.clients import Buildctl, Buildx

CHOSEN = [way for way in os.environ.get("BUILDMESH_E2E", "up,buildmeshd,stack").split(",") if way]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """A running Buildmesh (or buildkitd): `way` is how it was started, `addr` where clients connect."""

    way: str
    addr: str


@pytest.fixture(scope="session")
def running(parts_folder: Path) -> Iterator[Callable[[str], Mesh]]:
    """Starts each way once, when first asked for."""
    with ExitStack() as stack:
        started: dict[str, Mesh] = {}

        def get(name: str) -> Mesh:
            if name not in started:
                way: Way = WAYS[name]
                started[name] = Mesh(way=name, addr=stack.enter_context(way(parts_folder / f"way-{name}")))
            return started[name]

        yield get


@pytest.fixture(params=CHOSEN)
def mesh(request: pytest.FixtureRequest, running: Callable[[str], Mesh]) -> Mesh:
    """Each way in turn."""
    return running(request.param)


@pytest.fixture
def alone(running: Callable[[str], Mesh]) -> Mesh:
    """One way only, where the way makes no difference: the drop-in daemon."""
    return running("buildkitd" if CHOSEN == ["buildkitd"] else "buildmeshd")


@pytest.fixture
def buildctl(mesh: Mesh, tmp_path: Path) -> Buildctl:
    return Buildctl(addr=mesh.addr, work=tmp_path / "buildctl")


@pytest.fixture
def buildx(mesh: Mesh, tmp_path: Path) -> Buildx:
    return Buildx(addr=mesh.addr, work=tmp_path / "buildx")


@pytest.fixture
def lone_buildctl(alone: Mesh, tmp_path: Path) -> Buildctl:
    return Buildctl(addr=alone.addr, work=tmp_path / "buildctl")


@pytest.fixture
def lone_buildx(alone: Mesh, tmp_path: Path) -> Buildx:
    return Buildx(addr=alone.addr, work=tmp_path / "buildx")


@pytest.fixture
def context(tmp_path: Path) -> Callable[..., Path]:
    """Makes a context folder: `context(dockerfile, {"path": "content"})`."""
    return context_in(tmp_path)


def context_in(base: Path) -> Callable[..., Path]:
    def make(dockerfile: str, files: dict[str, str | bytes] | None = None, name: str = "context") -> Path:
        folder = base / name
        for path, content in {"Dockerfile": dockerfile, **(files or {})}.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    return make
