"""Certificates: every service has its own, and with BUILDMESH_TLS=1 so has every client."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.compose.conftest import Fleet
from tests.e2e.conftest import context_in
from tests.kit.clients import Buildctl, ClientFailed

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]  # the first of them builds an image and starts a fleet

SAYS_AS_SOLVER = (
    "import asyncio, nats, ssl\n"
    "from shared.run.certificates import Certificates\n"
    "from pathlib import Path\n"
    "async def main():\n"
    "    told = []\n"
    "    async def note(error): told.append(str(error))\n"
    "    tls = Certificates(folder=Path('/run/credentials')).client()\n"
    "    bus = await nats.connect('tls://nats:4222', tls=tls, tls_hostname='nats.buildmesh', error_cb=note)\n"
    "    await bus.publish('leases', b'forged')\n"
    "    await bus.flush()\n"
    "    for _ in range(40):\n"  # the library tells by a task of its own
    "        if not told: await asyncio.sleep(0.05)\n"
    "    await bus.close()\n"
    "    print(told)\n"
    "asyncio.run(main())\n"
)


def test_nobody_reaches_the_bus_without_a_certificate(fleet: Fleet) -> None:
    """Not even from inside."""
    anonymous = "import asyncio, nats; asyncio.run(nats.connect('tls://nats:4222', allow_reconnect=False, connect_timeout=3))"
    with pytest.raises(ClientFailed):
        fleet.compose.call("exec", "-T", "gateway", "python", "-c", anonymous)


def test_a_frontend_can_not_speak_as_a_solver(fleet: Fleet) -> None:
    """NATS knows each service by its certificate and holds it to the table of docs/bus.md."""
    assert "permissions violation" in fleet.compose.call("exec", "-T", "frontend", "python", "-c", SAYS_AS_SOLVER)
    assert "permissions violation" not in fleet.compose.call("exec", "-T", "solver", "python", "-c", SAYS_AS_SOLVER)


LISTS_BLOBS = (
    "import os\n"
    "from pathlib import Path\n"
    "from shared.blobs.s3 import client_of\n"
    "from shared.run.backends import s3_settings\n"
    "from shared.run.certificates import Certificates\n"
    "own = Certificates(folder=Path('/run/credentials'))\n"
    "try: print(len(list(client_of(s3_settings(os.environ['BUILDMESH_MESH__BLOBS'], os.environ, own)).list_objects('buildmesh'))))\n"
    "except Exception as error: print(getattr(error, 'code', error))\n"
)


def test_a_service_has_its_own_rights_in_the_blob_store(fleet: Fleet) -> None:
    """MinIO knows each by its key (tests/contracts/test_blob_rights.py tries all of them)."""
    assert "AccessDenied" in fleet.compose.call("exec", "-T", "frontend", "python", "-c", LISTS_BLOBS)
    assert fleet.compose.call("exec", "-T", "cachestore", "python", "-c", LISTS_BLOBS).strip().isdigit()


def test_clients_show_certificates(fleet: Fleet, from_busybox: list[str], tmp_path: Path) -> None:
    """With BUILDMESH_TLS=1: who has none is refused, who has one builds and knows the gateway."""
    secured = replace(fleet.compose, env={**fleet.compose.env, "BUILDMESH_TLS": "1"})
    secured.call("up", "-d", "--wait", "gateway")
    secured.call("cp", "credentials:/credentials/clients/me", str(tmp_path / "me"))
    context = context_in(tmp_path)("FROM busybox AS b\nRUN echo trusted > /out\nFROM scratch\nCOPY --from=b /out /\n")
    address = fleet.addr.replace("127.0.0.1", "localhost")

    with pytest.raises(ClientFailed):
        Buildctl(addr=fleet.addr, work=tmp_path / "stranger").call("--timeout=3", "debug", "workers")
    client = Buildctl(addr=address, work=tmp_path / "known")
    argv = ["--tlsdir", str(tmp_path / "me"), "build", "--frontend=dockerfile.v0"]
    client.call(
        *argv, f"--local=context={context}", f"--local=dockerfile={context}", *from_busybox, f"--output=type=local,dest={tmp_path}/out"
    )

    assert (tmp_path / "out/out").read_text() == "trusted\n"
