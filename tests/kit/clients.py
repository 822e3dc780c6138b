"""The real clients, unmodified: buildctl and buildx (remote driver)."""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.kit.parts.process import program

SECONDS: Final = 240.0
"""No client command may take longer."""

STEP: Final = re.compile(r"^#(\d+) (CACHED|DONE|ERROR|CANCELED)", re.MULTILINE)
NAME: Final = re.compile(r"^#(\d+) (\[.*)$", re.MULTILINE)


class ClientFailed(Exception):
    """A client ended with another status than 0; `said` is all that it printed."""

    def __init__(self, said: str, code: int) -> None:
        super().__init__(f"exit status {code}\n{said[-6000:]}")
        self.said = said
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build printed (plain progress), and its metadata file."""

    said: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return str(self.metadata["containerimage.digest"])

    @property
    def states(self) -> dict[str, str]:
        """Step name (`[stage 1/2] RUN …`) -> CACHED, DONE, ERROR or CANCELED, for the steps that a Dockerfile names."""
        names = dict(NAME.findall(self.said))
        ends = dict(STEP.findall(self.said))
        return {name: ends.get(number, "") for number, name in names.items()}

    def ran(self) -> list[str]:
        """Names of RUN, COPY and ADD steps that were not cached."""
        return [name for name, state in self.states.items() if state != "CACHED" and re.search(r"\] (RUN|COPY|ADD|WORKDIR) ", name)]


def run(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None, seconds: float = SECONDS) -> str:
    """stdout and stderr of a command in one text. Raises ClientFailed."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **(env or {})},
        cwd=cwd,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        raise ClientFailed(done.stdout, done.returncode)
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Buildctl:
    """buildctl pointed at `addr`; `work` takes metadata files."""

    addr: str
    work: Path
    env: Mapping[str, str] = field(default_factory=dict)
    tls: Path | None = None  # a folder with ca.pem, cert.pem and key.pem

    def argv(self, *words: str) -> list[str]:
        tls = [] if self.tls is None else ["--tlsdir", str(self.tls)]
        return [program("buildctl"), "--addr", self.addr, *tls, *words]

    def call(self, *words: str, seconds: float = SECONDS) -> str:
        return run(self.argv(*words), env=self.env, seconds=seconds)

    def build_argv(self, context: Path, *options: str) -> list[str]:
        """A Dockerfile build of `context` with its own Dockerfile."""
        local = ["--local", f"context={context}", "--local", f"dockerfile={context}"]
        return self.argv("build", "--progress=plain", "--frontend=dockerfile.v0", *local, *options)

    def build(self, context: Path, *options: str, seconds: float = SECONDS) -> Built:
        self.work.mkdir(parents=True, exist_ok=True)
        metadata = self.work / "metadata.json"
        metadata.unlink(missing_ok=True)
        said = run([*self.build_argv(context, *options), "--metadata-file", str(metadata)], env=self.env, seconds=seconds)
        return Built(said=said, metadata=json.loads(metadata.read_text()) if metadata.exists() else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Buildx:
    """buildx with a builder of its own (remote driver) and its configuration in `work`."""

    addr: str
    work: Path
    env: Mapping[str, str] = field(default_factory=dict)
    name: str = "mesh"
    tls: Path | None = None  # a folder with ca.pem, cert.pem and key.pem

    @property
    def environment(self) -> dict[str, str]:
        return {
            "BUILDX_CONFIG": str(self.work / "buildx"),
            "DOCKER_CONFIG": str(self.work / "docker"),
            "BUILDX_BUILDER": self.name,
            **self.env,
        }

    def call(self, *words: str, cwd: Path | None = None, seconds: float = SECONDS) -> str:
        """Any buildx command, with the builder made first."""
        if not (self.work / "buildx/instances" / self.name).exists():
            self.work.mkdir(parents=True, exist_ok=True)
            files = {} if self.tls is None else {"cacert": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
            tls = [f"--driver-opt={key}={self.tls}/{file}" for key, file in files.items()]
            run([program("buildx"), "create", "--name", self.name, "--driver", "remote", *tls, self.addr], env=self.environment)
        return run([program("buildx"), *words], env=self.environment, cwd=cwd, seconds=seconds)

    def build(self, context: Path, *options: str, seconds: float = SECONDS) -> Built:
        metadata = self.work / "metadata.json"
        metadata.unlink(missing_ok=True)
        said = self.call(
            "build", "--progress=plain", "--provenance=false", "--metadata-file", str(metadata), *options, str(context), seconds=seconds
        )
        return Built(said=said, metadata=json.loads(metadata.read_text()) if metadata.exists() else {})
