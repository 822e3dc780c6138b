"""A real program that others wrote: compiled, packed small, pushed, pulled by strangers, run."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from tests.e2e.conftest import Mesh
from tests.kit import judge
from tests.kit.clients import Buildctl, Buildx, Built
from tests.kit.parts.registry import Registry
from tests.kit.sources import debian_source

pytestmark = [pytest.mark.root, pytest.mark.slow]

DOCKERFILE = """\
FROM {debian} AS source
WORKDIR /src
COPY . .
ARG CFLAGS=-O1
RUN ./configure --quiet --disable-nls CFLAGS=$CFLAGS LDFLAGS=-static

FROM source AS build
RUN --mount=type=tmpfs,target=/tmp make --silent -j2 HELP2MAN=true MAKEINFO=true && ./hello

FROM build AS check
RUN ./hello | grep -q 'Hello, world!' && echo checked > /checked

FROM {busybox}
LABEL org.example.program=hello
ENV GREETING="hello from the mesh"
COPY --from=build --chmod=0755 /src/hello /usr/local/bin/hello
COPY --from=check /checked /
RUN echo 'greeter:x:1234:1234::/home/greeter:/bin/sh' >> /etc/passwd
USER greeter
WORKDIR /home/greeter
ENTRYPOINT ["/usr/local/bin/hello"]
CMD ["--greeting=as built"]
"""


@pytest.fixture(scope="session")
def program(parts_folder: Path, debian: str, busybox: str) -> Path:
    """GNU hello's source with our Dockerfile; all times are the same so that each way sees equal input."""
    folder = debian_source("hello", parts_folder / "sources")
    (folder / "Dockerfile").write_text(DOCKERFILE.format(debian=debian, busybox=busybox))
    (folder / ".dockerignore").write_text("debian\n.pc\n")
    return folder


def pushed(build: Callable[..., Built], program: Path, reference: str) -> Built:
    return build(program, "--output", f"type=image,name={reference},push=true,rewrite-timestamp=true", *epoch(build))


def epoch(build: Callable[..., Built]) -> tuple[str, str]:
    """SOURCE_DATE_EPOCH in the spelling of each client."""
    owner = getattr(build, "__self__", None)
    return (
        ("--build-arg", "SOURCE_DATE_EPOCH=1700000000")
        if isinstance(owner, Buildx)
        else ("--opt", "build-arg:SOURCE_DATE_EPOCH=1700000000")
    )


class TestProgram:
    """The digests and trees of all ways are kept here and must be one and the same."""

    digests: ClassVar[dict[str, str]] = {}
    trees: ClassVar[dict[str, dict[str, tuple[str, int, int, int, str]]]] = {}

    @pytest.mark.parametrize("client", ["buildctl", "buildx"])
    def test_program_is_built_pushed_and_runs(
        self, client: str, mesh: Mesh, registry: Registry, program: Path, tmp_path: Path, buildctl: Buildctl, buildx: Buildx
    ) -> None:
        """The same image from each way and client, and it greets."""
        build = buildctl.build if client == "buildctl" else buildx.build
        name = f"{mesh.way}-{client}"
        reference = f"{registry.host}/hello-{name}:latest"

        built = pushed(build, program, reference)
        bundle = judge.unpack(judge.fetch(reference, tmp_path / "layout"), tmp_path / "bundle")

        assert judge.run_bundle(bundle) == "as built\n"
        assert judge.inspect(tmp_path / "layout")["config"]["User"] == "greeter"
        self.digests[name] = built.digest
        self.trees[name] = judge.tree(bundle / "rootfs")
        assert len({str(tree) for tree in self.trees.values()}) == 1
        assert len(set(self.digests.values())) == 1

    def test_second_build_is_cached(self, registry: Registry, program: Path, buildctl: Buildctl, mesh: Mesh) -> None:
        """Not one step runs, and nothing but names is sent."""
        reference = f"{registry.host}/hello-{mesh.way}-again:latest"

        pushed(buildctl.build, program, reference)
        begin = time.monotonic()
        built = pushed(buildctl.build, program, reference)

        assert built.ran() == []
        assert time.monotonic() - begin < 10

    def test_touched_source_runs_what_depends_on_it(self, program: Path, buildctl: Buildctl, tmp_path: Path) -> None:
        """The stages after COPY run anew, the user is added from the cache."""
        copy = shutil.copytree(program, tmp_path / "copy", symlinks=True)
        buildctl.build(copy)
        (copy / "README").write_text("changed\n")

        again = buildctl.build(copy)

        assert any("COPY . ." in name for name in again.ran())
        assert not any("WORKDIR /src" in name for name in again.ran())

    def test_equal_checkout_hits_by_content(self, program: Path, buildctl: Buildctl, tmp_path: Path) -> None:
        """Another folder with the same content, copied file by file with new times: everything is cached."""
        buildctl.build(program)
        fresh = shutil.copytree(program, tmp_path / "fresh", symlinks=True, copy_function=shutil.copy)

        assert buildctl.build(fresh).ran() == []
