"""Questions about a Dockerfile, as stock clients put and print them: the same words from the real buildkitd and from ours."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.clients import Buildctl, Buildx
from tests.kit.dockerfile_images import push_all
from tests.kit.parts.buildkitd import daemon, our_buildmeshd, real_buildkitd
from tests.kit.parts.process import program
from tests.kit.parts.registry import registry_server

pytestmark = [pytest.mark.root, pytest.mark.slow]

DOCKERFILE = """\
# WHAT what is built
ARG WHAT=all
# base has the tools
FROM alpine AS base
ARG API_TOKEN
RUN --mount=type=secret,id=tok,required --mount=type=ssh make $WHAT
FROM base as Final
MAINTAINER me
COPY $NOPE /
CMD run me
"""
BAKE = """\
variable "V" { default = "x" }
group "default" { targets = ["one"] }
target "one" { args = { WHAT = V } }
target "two" { target = "base" }
"""


@pytest.fixture(scope="module")
def builders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Buildctl, Buildx]]]:
    folder = tmp_path_factory.mktemp("subrequests")
    with registry_server(folder / "registry") as registry:
        push_all(registry.url)
        config = f'[registry."docker.io"]\n  mirrors = ["{registry.host}"]\n'
        with (
            daemon(folder / "theirs", real_buildkitd(), config=config) as theirs,
            daemon(folder / "ours", our_buildmeshd(), config=config) as ours,
        ):
            found = {}
            for name, addr in (("theirs", theirs.addr), ("ours", ours.addr)):
                buildx = Buildx(addr=addr, work=folder / f"{name}-buildx")
                buildx.call("ls")
                found[name] = Buildctl(addr=addr, work=folder / f"{name}-work"), buildx
            yield found


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "docker-bake.hcl").write_text(BAKE)
    return tmp_path


def said(buildx: Buildx, folder: Path, *words: str) -> tuple[int, list[str], list[str]]:
    """Status, standard output, and the lines of standard error but progress, sorted: warnings come as they come."""
    done = subprocess.run(
        [program("buildx"), *words],
        env={**os.environ, **buildx.environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    plain = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr)
    errors = sorted(line.strip() for line in plain.splitlines() if line.strip() and not line.startswith("#"))
    return done.returncode, steady(done.stdout).splitlines(), steady("\n".join(errors)).splitlines()


def steady(text: str) -> str:
    """Without ids of sessions and what is digested with them."""
    return re.sub(r'"(?:sha256:[0-9a-f]{64}|[A-Za-z0-9+/=]{60,})"|"[a-z0-9]{25}"', '"*"', text)


# lint as JSON is missing: it has a map keyed by digests that differ with the session; tests/compat/test_dockerfile_frontend.py compares it
CALLS = ["check", "lint", "outline", "targets", "outline,format=json", "targets,format=json", "subrequests.describe"]


@pytest.mark.parametrize("call", CALLS)
def test_buildx_prints_the_same(call: str, builders: dict[str, tuple[Buildctl, Buildx]], context: Path) -> None:
    answers = {name: said(buildx, context, "build", f"--call={call}", ".") for name, (_, buildx) in builders.items()}

    assert answers["ours"] == answers["theirs"]
    assert answers["ours"][1]


def test_buildx_shows_where_a_dockerfile_is_wrong(builders: dict[str, tuple[Buildctl, Buildx]], context: Path) -> None:
    (context / "Dockerfile").write_text("FROM alpine\nRUN --mont=type=cache,target=/x make\n")
    answers = {name: said(buildx, context, "build", ".") for name, (_, buildx) in builders.items()}

    assert answers["ours"][0] == answers["theirs"][0] != 0
    assert answers["ours"][2] == answers["theirs"][2]
    assert "did you mean mount?" in " ".join(answers["ours"][2])


@pytest.mark.parametrize(
    "words", [("--list=targets",), ("--list=variables",), ("--list=type=targets,format=json",), ("--check",), ("--call=outline", "two")]
)
def test_bake_lists_and_asks_the_same(words: tuple[str, ...], builders: dict[str, tuple[Buildctl, Buildx]], context: Path) -> None:
    answers = {name: said(buildx, context, "bake", "--allow=fs=*", *words) for name, (_, buildx) in builders.items()}

    assert answers["ours"] == answers["theirs"]
    assert answers["ours"][1]


@pytest.mark.parametrize("request_id", ["frontend.outline", "frontend.targets", "frontend.lint", "frontend.subrequests.describe"])
def test_buildctl_prints_the_same(request_id: str, builders: dict[str, tuple[Buildctl, Buildx]], context: Path) -> None:
    answers = {}
    for name, (buildctl, _) in builders.items():
        argv = [*buildctl.build_argv(context, f"--opt=requestid={request_id}")]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        answers[name] = done.returncode, steady(done.stdout)

    assert answers["ours"] == answers["theirs"]
    assert answers["ours"][1]
