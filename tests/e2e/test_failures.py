"""What goes wrong is told clearly, and the next build works."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Mesh
from tests.kit.clients import Buildctl, Buildx, ClientFailed
from tests.kit.parts.process import child

pytestmark = [pytest.mark.root, pytest.mark.slow]

Make = Callable[..., Path]


def failure(client: Buildctl | Buildx, folder: Path, *options: str) -> str:
    """All that the client says about a build that must fail."""
    with pytest.raises(ClientFailed) as caught:
        client.build(folder, *options, seconds=60)
    return caught.value.said


@pytest.fixture(autouse=True)
def next_build_works(buildctl: Buildctl, tmp_path: Path, busybox: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """After each failure a small build succeeds."""
    yield
    folder = tmp_path / "next"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {busybox}\nRUN echo {request.node.name} > /ok\n")
    buildctl.build(folder, seconds=60)


@pytest.mark.parametrize("client", ["buildctl", "buildx"])
def test_failing_run(client: str, buildctl: Buildctl, buildx: Buildx, context: Make, busybox: str) -> None:
    """Exit code, log lines, and the excerpt of the Dockerfile with the line marked."""
    folder = context(f"FROM {busybox}\nRUN echo before\nRUN echo words of $((6*7)) && exit 37\nRUN echo never\n")

    said = failure(buildctl if client == "buildctl" else buildx, folder)

    assert "exit code: 37" in said
    assert "words of 42" in said
    assert "Dockerfile:3" in said
    assert ">>> RUN echo words" in said
    assert "never" not in said.replace("RUN echo never", "")


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        pytest.param("FROM {busybox}\nRUNN echo\n", ["unknown instruction: RUNN", "Dockerfile:2"], id="instruction"),
        pytest.param("FROM {busybox}\nCOPY nowhere /\n", ["nowhere", "not found", "Dockerfile:2"], id="file"),
        pytest.param("FROM {host}/no/such:image\n", ["no/such:image", "not found"], id="image"),
        pytest.param("FROM {busybox}\nCOPY --from=gone /x /\n", ["gone"], id="stage"),
        pytest.param("FROM {busybox}\nRUN --mount=type=strange true\n", ["strange"], id="mount"),
        pytest.param("FROM {busybox}\nCOPY --colour=red a /\n", ["colour"], id="flag"),
        pytest.param("FROM {busybox}\nRUN --mount=type=secret,id=nobody,required=true true\n", ["nobody", "not found"], id="secret"),
        pytest.param("", ["empty"], id="empty"),
        pytest.param("RUN true\n", ["no build stage"], id="no-stage"),
        pytest.param("FROM {busybox}\nRUN /no/such/program\n", ["127"], id="program"),
        pytest.param('FROM {busybox}\nRUN ["/no/such/program"]\n', ["/no/such/program"], id="exec-form"),
    ],
)
def test_bad_input(dockerfile: str, words: list[str], buildctl: Buildctl, context: Make, busybox: str) -> None:
    """The message names the thing."""
    said = failure(buildctl, context(dockerfile.format(busybox=busybox, host=busybox.partition("/")[0])))

    assert [word for word in words if word not in said] == []


def test_bad_option(buildctl: Buildctl, context: Make, busybox: str) -> None:
    """A target that is not there, a platform that is none."""
    folder = context(f"FROM {busybox} AS one\n")

    assert "nothere" in failure(buildctl, folder, "--opt", "target=nothere")
    assert "not/a/plat/form" in failure(buildctl, folder, "--opt", "platform=not/a/plat/form/x")


def test_frontend_nobody_knows(buildctl: Buildctl, context: Make) -> None:
    """Its name is in the error."""
    with pytest.raises(ClientFailed, match=r"strange\.v7"):
        buildctl.call("build", "--frontend=strange.v7")


def test_interrupt_ends_the_container(mesh: Mesh, buildctl: Buildctl, context: Make, busybox: str) -> None:
    """Two seconds after Ctrl-C nothing of the step runs any more."""
    mark = f"86{time.time_ns() % 10**7}"
    folder = context(f"FROM {busybox}\nRUN sleep {mark}\n")
    silent = subprocess.DEVNULL
    with child(buildctl.build_argv(folder), stdin=silent, stdout=silent, stderr=silent) as client:
        wait_until(lambda: sleeping(mark), 30)
        client.send_signal(signal.SIGINT)
        wait_until(lambda: not sleeping(mark), 2)
        assert client.wait(10) != 0


def sleeping(mark: str) -> bool:
    """True while a process `sleep MARK` is there."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", mark.encode()]:
            return True
    return False


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not after {seconds} s"
        time.sleep(0.02)
