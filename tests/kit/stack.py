"""Six service processes over a nats-server and an S3 server. `python -m tests.kit.stack` (make stack) runs one until Ctrl-C."""

import argparse
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from shared.blobs.credentials import FILE
from shared.run.certificates import Certificates
from tests.kit.parts.buildkitd import REPOSITORY
from tests.kit.parts.minio import S3, s3_server
from tests.kit.parts.nats import Nats, nats_server
from tests.kit.parts.process import Part, free_port, http_ok, running, wait_ready

SERVICES: Final = ("cachestore", "executor", "exporter", "frontend", "solver", "gateway")

Tables = dict[str, dict[str, Any]]


@dataclass(slots=True, kw_only=True)
class Stack:
    """The processes by name (`solver-0`, `executor-1`, …). `addr` is the first gateway's. `environment` is given to each."""

    folder: Path
    addr: str
    nats: Nats
    s3: S3
    environment: Mapping[str, str]
    settings: Mapping[str, Mapping[str, Any]]
    shared: Mapping[str, Any] = field(default_factory=dict)
    certs: Path | None = None
    parts: dict[str, Part] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    _alive: dict[str, ExitStack] = field(default_factory=dict)

    def start(self, name: str) -> Part:
        """Starts a process, again with the files and ports that it had; it is waited for by `ready`."""
        service = name.rpartition("-")[0]
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        port = self.ports.setdefault(name, free_port())
        config = folder / "config.toml"
        config.write_text(toml(self.tables(service, name, port)))
        argv = [sys.executable, "-m", f"services.{service}", "--config", str(config)]
        alive = self._alive[name] = ExitStack()
        part = alive.enter_context(running(name, argv, folder=folder, ready=lambda: True, env=self.environment_of(service), grace=20))
        self.parts[name] = part
        return part

    def certificates(self, service: str) -> Certificates | None:
        """To look at the fleet as this service does."""
        return None if self.certs is None else Certificates(folder=self.certs / service)

    def environment_of(self, service: str) -> Mapping[str, str]:
        """With certificates, its own key of the blob store."""
        if self.certs is None:
            return self.environment
        rest = {key: value for key, value in self.environment.items() if key not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        return {**rest, FILE: str(self.certs / service / "aws")}

    def ready(self, name: str, seconds: float = 20) -> None:
        """Waits until the process says on /readyz that it can work."""
        wait_ready(self.parts[name], lambda: self.is_ready(name), seconds)

    def is_ready(self, name: str) -> bool:
        return http_ok(f"http://127.0.0.1:{self.ports[name]}/readyz")

    def kill(self, name: str) -> None:
        """kill -9."""
        self.parts[name].kill()

    def stop(self, name: str) -> int:
        """SIGTERM and its exit status."""
        return self.parts[name].stop()

    def close(self) -> None:
        for alive in reversed(self._alive.values()):
            alive.close()

    def tables(self, service: str, name: str, port: int) -> Tables:
        """The configuration file: what all share in [mesh], the rest in a table named as the service."""
        mesh = {
            "bus": self.nats.url,
            "blobs": self.s3.url,
            "certificates": str(self.certs / service) if self.certs is not None else "",
            "state": str(self.folder / name / "state"),
            "http": f"127.0.0.1:{port}",
            "log_level": "debug",
            **self.shared,
        }
        return {"mesh": mesh, service: {**self._own(service, name), **self.settings.get(service, {}), **self.settings.get(name, {})}}

    def _own(self, service: str, name: str) -> dict[str, Any]:
        match service:
            case "gateway":
                relay = self.ports.setdefault(f"{name}-relay", free_port())
                socket = self.addr if name == "gateway-0" else f"unix://{self.folder}/{name}.sock"
                return {"addresses": [socket], "relay_address": f"tcp://127.0.0.1:{relay}"}
            case _:
                return {}


def toml(tables: Tables) -> str:
    """TOML of two levels, with lists and tables as values."""
    lines = []
    for table, values in tables.items():
        lines.append(f"[{table}]")
        lines += [f"{key} = {_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """JSON's strings, numbers and booleans are TOML's."""
    match value:
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case dict():
            return "{" + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


@contextmanager
def stack(
    folder: Path,
    *,
    nats: Nats,
    s3: S3,
    counts: Mapping[str, int] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    mesh: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    certs: Path | None = None,
    seconds: float = 30,
) -> Iterator[Stack]:
    """All six, ready. `counts` says how many of a service (default one each).

    `settings` are added to the table of a service (`executor`) or of one process (`executor-1`), `mesh` to the table that all share.
    `certs`: what `buildmesh certs` has filled, for a `nats` and `s3` that go by it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = {"PYTHONPATH": str(REPOSITORY), "BUILDMESH_STACK": str(folder), **s3.environment, **(env or {})}
    made = Stack(
        folder=folder,
        addr=f"unix://{folder}/gateway.sock",
        nats=nats,
        s3=s3,
        environment=environment,
        settings=settings or {},
        shared=mesh or {},
        certs=certs,
    )
    try:
        for service in SERVICES:
            for number in range((counts or {}).get(service, 1)):
                made.start(f"{service}-{number}")
        for name in made.parts:
            made.ready(name, seconds)
        yield made
    finally:
        made.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="make stack", description="Six processes over nats-server and MinIO, until Ctrl-C.")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/buildmesh-stack"), help="where all state goes")
    parser.add_argument("--executors", type=int, default=1)
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    with (
        nats_server(folder / "nats") as nats,
        s3_server(folder / "s3") as s3,
        stack(folder, nats=nats, s3=s3, counts={"executor": options.executors}, env=dict(os.environ)) as mesh,
    ):
        write_environment(folder / "environment", {**s3.environment, "PYTHONPATH": str(REPOSITORY)})
        print(f"ready: buildctl --addr {mesh.addr} build …   (logs: {folder}/*-0/*.log, Ctrl-C stops all)", flush=True)
        print(
            f"more of a service: its config.toml with a state and port of its own, {folder}/environment; docs/deploy.md, «By hand»",
            flush=True,
        )
        wait_for_end()


def write_environment(file: Path, values: Mapping[str, str]) -> None:
    """What a shell reads by `. FILE`, for services that are started by hand. For its owner only: the blob store's key is in it."""
    file.unlink(missing_ok=True)
    with open(file, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as text:
        text.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def wait_for_end() -> None:
    """Returns on Ctrl-C or SIGTERM. (Signals are not blocked: the services would inherit that.)"""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(1):
        pass


if __name__ == "__main__":
    main()
