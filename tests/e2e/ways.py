"""The three ways to start Buildmesh, and the real buildkitd as the judge of the tests."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from services.certs import main as make_certificates
from tests.kit.parts.buildkitd import REPOSITORY, daemon, our_buildmeshd, real_buildkitd
from tests.kit.parts.minio import s3_server
from tests.kit.parts.nats import nats_server, secured
from tests.kit.parts.process import accepts, free_port, running
from tests.kit.stack import Stack, stack

Way = Callable[[Path], AbstractContextManager[str]]

CLIENTS: Final = ("alice", "bob")
PUBLIC: Final = "public"

HOST_NETWORK: Final = 'insecure-entitlements = ["network.host"]\n'


@contextmanager
def buildkitd(folder: Path) -> Iterator[str]:
    with daemon(folder, real_buildkitd(), config=HOST_NETWORK) as started:
        yield started.addr


@contextmanager
def buildmeshd(folder: Path) -> Iterator[str]:
    with daemon(folder, our_buildmeshd(), config=HOST_NETWORK) as started:
        yield started.addr


@contextmanager
def up(folder: Path) -> Iterator[str]:
    """`buildmesh up`: the all-in-one without any configuration."""
    socket = folder / "buildmesh.sock"
    argv = [sys.executable, "-m", "services", "--state", str(folder / "state"), "--addr", f"unix://{socket}"]
    with running("up", argv, folder=folder, ready=lambda: accepts(str(socket)), env={"PYTHONPATH": str(REPOSITORY)}, grace=20):
        yield f"unix://{socket}"


@contextmanager
def fleet(folder: Path) -> Iterator[str]:
    """Six processes, nats-server, MinIO; each service with its certificate and its rights on the bus, so that all tests keep to them.

    Clients with a certificate are served at the address that the file `public` names (test_identity.py), the others on the socket.
    """
    certs = folder / "certs"
    assert make_certificates(["--out", str(certs), *(word for name in CLIENTS for word in ("--client", name))]) == 0
    port, own = free_port(), certs / "gateway/public"
    (folder / PUBLIC).write_text(f"tcp://localhost:{port}")
    tls = {"tls_cert": str(own / "cert.pem"), "tls_key": str(own / "key.pem"), "tls_ca": str(own / "ca.pem")}
    addresses = [f"unix://{folder}/stack/gateway.sock", f"tcp://127.0.0.1:{port}"]
    with (
        nats_server(folder / "nats", config=secured(certs)) as nats,
        s3_server(folder / "s3", certs=certs) as s3,
        stack(folder / "stack", nats=nats, s3=s3, certs=certs, settings={"gateway": {"addresses": addresses, **tls}}) as mesh,
    ):
        yield mesh.addr
        refused = refusals(mesh)
        assert not refused, refused


def refusals(mesh: Stack) -> list[str]:
    """What the bus has refused the services, as they logged it."""
    return [f"{name}: {line}" for name, part in mesh.parts.items() for line in part.said().splitlines() if "the bus refuses" in line]


WAYS: Final[dict[str, Way]] = {"up": up, "buildmeshd": buildmeshd, "stack": fleet, "buildkitd": buildkitd}
