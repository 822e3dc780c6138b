"""Frontends that are images: BuildKit's own Dockerfile frontend as a container builds what ours builds; hostile ones harm themselves."""

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Mesh
from tests.kit.clients import Buildctl, Buildx, ClientFailed
from tests.kit.frontend_images import scripted_frontend
from tests.kit.images import push_layout
from tests.kit.oci_layout import Layout, Tree
from tests.kit.parts.process import child, program
from tests.kit.parts.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.slow]

Make = Callable[..., Path]
CAPS = ",".join(f"moby.buildkit.frontend.{name}" for name in ("inputs", "subrequests", "contexts", "gitquerystring"))


@pytest.fixture(scope="session")
def real(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """dockerfile-frontend v0.32.2 as an image, under a name that the built-in frontend does not stand for."""
    tree = Tree().folder("bin").file("bin/frontend", Path(program("dockerfile-frontend")).read_bytes(), 0o755)
    config = {"Entrypoint": ["/bin/frontend"], "Cmd": ["ignored"], "Labels": {"moby.buildkit.frontend.caps": CAPS}}
    return pushed(registry, tmp_path_factory.mktemp("real"), "real-frontend", [tree.done()], config)


def pushed(registry: Registry, folder: Path, name: str, layers: list[bytes], config: dict[str, Any]) -> str:
    layout = Layout(folder / "layout")
    layout.tag(layout.image(layers, config), "latest")
    return push_layout(folder / "layout", f"{registry.host}/{name}:latest")


@pytest.fixture(scope="session")
def scripted(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """An image with busybox whose entrypoint is a shell script."""
    made: dict[str, str] = {}
    base = tmp_path_factory.mktemp("scripted")

    def image(script: str) -> str:
        if script not in made:
            number = len(made)
            made[script] = scripted_frontend(base / str(number), script, f"{registry.host}/scripted-{number}:latest")
        return made[script]

    return image


DOCKERFILE = """{syntax}FROM {base} AS one
ARG WORD=none
RUN --mount=type=cache,target=/c echo $WORD > /word && echo made
FROM scratch
COPY --from=one /word /
COPY file /
LABEL a=b
"""


def tree(client: Buildctl, folder: Path, *options: str) -> dict[str, str]:
    out = folder.parent / f"out-{len(list(folder.parent.iterdir()))}"
    client.build(folder, *options, "--output", f"type=local,dest={out}")
    return {file.name: file.read_text() for file in out.iterdir()}


def test_the_real_frontend_builds_the_same(buildctl: Buildctl, context: Make, busybox: str, real: str) -> None:
    """By the syntax line, by BUILDKIT_SYNTAX, by name; steps and image are those of the built-in one, which finds them in the cache."""
    words = "--opt", "build-arg:WORD=hello"
    own = context(DOCKERFILE.format(syntax="", base=busybox), {"file": "f"}, name="own")
    line = context(DOCKERFILE.format(syntax=f"# syntax={real}\n", base=busybox), {"file": "f"}, name="line")
    expected = {"word": "hello\n", "file": "f"}

    assert tree(buildctl, line, *words) == expected
    assert tree(buildctl, own, *words, "--opt", f"build-arg:BUILDKIT_SYNTAX={real}") == expected
    built = buildctl.build(own, *words, "--frontend=gateway.v0", "--opt", f"source={real}")
    assert "resolve image config for docker-image://" in built.said
    assert all(state == "CACHED" for name, state in built.states.items() if "RUN" in name or "COPY" in name), built.states
    again = buildctl.build(own, *words)
    assert all(state == "CACHED" for name, state in again.states.items() if "RUN" in name or "COPY" in name), again.states


def test_buildx_with_a_syntax_line(lone_buildx: Buildx, context: Make, busybox: str, real: str, tmp_path: Path) -> None:
    folder = context(DOCKERFILE.format(syntax=f"# syntax={real}\n", base=busybox), {"file": "f"})

    lone_buildx.build(folder, "--build-arg=WORD=x", "--output", f"type=local,dest={tmp_path}/out")

    assert (tmp_path / "out/word").read_text() == "x\n"
    assert "one" in lone_buildx.call("build", "--call=outline,format=json", str(folder))


def test_errors_of_the_real_frontend(lone_buildctl: Buildctl, context: Make, real: str) -> None:
    """With the excerpt of the Dockerfile, as the built-in one tells them."""
    with pytest.raises(ClientFailed) as caught:
        lone_buildctl.build(context(f"# syntax={real}\nFROM scratch\nRNU x\n"))

    assert "unknown instruction: RNU (did you mean " in caught.value.said
    assert ">>> RNU x" in caught.value.said


def test_an_image_that_is_not_there(lone_buildctl: Buildctl, context: Make, registry: Registry) -> None:
    """The line that asks for it is shown."""
    with pytest.raises(ClientFailed) as caught:
        lone_buildctl.build(context(f"# syntax={registry.host}/nobody:1\nFROM scratch\n"))

    assert f"{registry.host}/nobody:1: not found" in caught.value.said
    assert f">>> # syntax={registry.host}/nobody:1" in caught.value.said


def test_capabilities_are_asked_for(lone_buildctl: Buildctl, context: Make, real: str) -> None:
    with pytest.raises(ClientFailed, match=re.escape("unsupported frontend capability moby.buildkit.frontend.future")):
        lone_buildctl.build(
            context("FROM scratch\n"),
            "--frontend=gateway.v0",
            "--opt",
            f"source={real}",
            "--opt",
            "frontend.caps=moby.buildkit.frontend.future",
        )


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 3", "exit code: 3"),
        ("exit 0", "no result for incomplete build"),
        ("cat /dev/zero", "frontend grpc server closed unexpectedly"),
        ("head -c 20000000 /dev/zero >&2; exit 4", "exit code: 4"),
        ("printf 'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n'; cat /dev/urandom", "frontend grpc server closed unexpectedly"),
        ("exec /nothing", "exit code: 127"),
        ("mount -t tmpfs x /mnt || exit 5", "exit code: 5"),
        ("grep -q '^CapEff.*00000000a80425fb$' /proc/self/status || exit 6; exit 8", "exit code: 8"),
    ],
)
def test_hostile_frontends(lone_buildctl: Buildctl, context: Make, scripted: Callable[[str], str], script: str, says: str) -> None:
    """Nonsense, floods, early ends, privileges: an error of that build, and the daemon goes on."""
    with pytest.raises(ClientFailed, match=re.escape(says)):
        lone_buildctl.build(context("FROM scratch\n"), "--frontend=gateway.v0", "--opt", f"source={scripted(script)}", seconds=60)

    lone_buildctl.call("debug", "workers", seconds=10)


@pytest.mark.parametrize("does", ["sleep 1000", "cat /dev/zero >&2"])
def test_a_frontend_that_never_returns(
    does: str, alone: Mesh, lone_buildctl: Buildctl, context: Make, scripted: Callable[[str], str]
) -> None:
    """It lives as long as its client; another build goes on beside it."""
    mark = "never-returning-frontend"
    argv = lone_buildctl.build_argv(
        context("FROM scratch\n", name="never"), "--frontend=gateway.v0", "--opt", f"source={scripted(f'{does}; : {mark}')}"
    )
    with child(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        wait_for(lambda: running(mark) > 0)
        lone_buildctl.build(context("FROM scratch\nCOPY f /\n", {"f": "x"}, name="beside"), seconds=30)
    wait_for(lambda: running(mark) == 0)
    wait_for(lambda: f"{folder_of(alone)}/root/executor/run/" not in Path("/proc/mounts").read_text())


def folder_of(mesh: Mesh) -> str:
    """Where its daemon keeps everything."""
    return mesh.addr.removeprefix("unix://").rpartition("/")[0]


def running(mark: str) -> int:
    """Containers' processes whose command line has the mark."""
    found = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            found += any(mark.encode() in word for word in words) and words[0] == b"/bin/sh"
    return found


def wait_for(holds: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.1)
