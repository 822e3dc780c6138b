"""What `buildmesh certs` writes, judged by TLS itself."""

import ssl
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.certs.folder import Folder, aws_file
from shared.blobs.credentials import FILE, credentials
from shared.run.certificates import Certificates
from shared.wire.roles import ROLES

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    Folder(path=folder, now=NOW, days=30).fill(public_names=["build.example.com", "127.0.0.1"], clients=["alice"])
    return folder


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str:
    """A TLS handshake in memory; the common name that the server saw. Raises ssl.SSLError when one side refuses."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [server.wrap_bio(up, down, server_side=True), client.wrap_bio(down, up, server_hostname=name)]
    for _ in range(6):
        for end in ends:
            step(end.do_handshake)
    step(lambda: ends[0].read(1))  # with TLS 1.3 a refused client is told after its side is done
    subject = (ends[0].getpeercert() or {}).get("subject", ())
    assert isinstance(subject, tuple)
    return next(value for part in subject for key, value in part if key == "commonName")


def step(move: object) -> None:
    try:
        assert callable(move)
        move()
    except ssl.SSLWantReadError:
        return


def at(folder: Path) -> Certificates:
    return Certificates(folder=folder)


def test_parts_of_the_fleet_know_each_other(certs: Path) -> None:
    assert shake(at(certs / "nats").server.server_context(), at(certs / "solver").client(), "nats.buildmesh") == "solver"
    assert shake(at(certs / "gateway").server.server_context(), at(certs / "executor").client_of_grpc(), "gateway.buildmesh") == "executor"


@pytest.mark.parametrize("name", ["build.example.com", "127.0.0.1"])
def test_a_client_and_the_public_address_know_each_other(certs: Path, name: str) -> None:
    assert shake(at(certs / "gateway/public").server.server_context(), at(certs / "clients/alice").client(), name) == "alice"


@pytest.mark.parametrize(
    ("server", "client", "name"),
    [
        pytest.param("nats", "clients/alice", "nats.buildmesh", id="a client is no part of the fleet"),
        pytest.param("gateway/public", "executor", "localhost", id="a part of the fleet is no client"),
        pytest.param("minio", "solver", "nats.buildmesh", id="one server does not pass for another"),
        pytest.param("gateway/public", "clients/alice", "evil.example.com", id="another name"),
    ],
)
def test_strangers_are_refused(certs: Path, server: str, client: str, name: str) -> None:
    with pytest.raises(ssl.SSLError):
        shake(at(certs / server).server.server_context(), at(certs / client).client(), name)


def test_a_clients_certificate_serves_nothing(certs: Path) -> None:
    """Who has stolen it can't play the gateway for others."""
    with pytest.raises(ssl.SSLError):
        shake(at(certs / "clients/alice").server.server_context(), at(certs / "clients/alice").client(), "localhost")


def test_keys_are_for_their_owner(certs: Path) -> None:
    keys = [path for path in certs.rglob("*") if path.name in ("key.pem", "private.key") or path.name.endswith("-key.pem")]

    assert len(keys) == 13
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


def keys(folder: Path) -> dict[str, tuple[str, str]]:
    return {role: credentials({FILE: str(folder / role / "aws")}) for role in (*ROLES, "minio")}


def test_each_service_has_a_key_of_the_blob_store(certs: Path) -> None:
    """And MinIO has one that none of them has; it reads it in its own way, and `buildmesh store` all of them."""
    made = keys(certs)

    assert {role: key for role, (key, _) in made.items()} == {**{role: role for role in ROLES}, "minio": "buildmesh"}
    assert len({secret for _, secret in made.values()}) == len(ROLES) + 1
    assert ((certs / "minio/user").read_text(), (certs / "minio/password").read_text()) == made["minio"]
    assert {role: credentials({FILE: str(certs / "minio/users" / role)}) for role in ROLES} == {role: made[role] for role in ROLES}
    secret = [certs / "minio/password", *certs.glob("*/aws"), *certs.glob("minio/users/*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}


def test_keys_stay_but_nobody_keeps_minios(tmp_path: Path) -> None:
    """Somebody's own S3 needs the key that was put there; a fleet of before had MinIO's key everywhere."""
    for role in ("gateway", "solver"):
        (tmp_path / role).mkdir()
    (tmp_path / "minio").mkdir()
    (tmp_path / "minio/user").write_text("old-root")
    (tmp_path / "minio/password").write_text("old-password\n")
    (tmp_path / "gateway/aws").write_bytes(aws_file("of-another-s3", "its-secret"))
    (tmp_path / "solver/aws").write_bytes(aws_file("old-root", "old-password"))
    folder = Folder(path=tmp_path, now=NOW, days=30)
    folder.fill(public_names=["localhost"], clients=[])
    first = keys(tmp_path)
    folder.fill(public_names=["localhost"], clients=[])

    assert (first["minio"], first["gateway"]) == (("old-root", "old-password"), ("of-another-s3", "its-secret"))
    assert first["solver"][0] == "solver"
    assert keys(tmp_path) == first


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def changed(before: dict[Path, bytes], after: dict[Path, bytes]) -> Iterable[str]:
    return sorted(path.name for path, data in after.items() if before.get(path) != data)


def test_what_exists_stays_and_what_is_missing_is_added(tmp_path: Path) -> None:
    def fill(client: str, *, renew: bool = False) -> list[str]:
        return Folder(path=tmp_path, now=NOW, days=30, renew=renew).fill(public_names=["localhost"], clients=[client])

    fill("alice")
    first = content(tmp_path)
    added = fill("bob")
    second = content(tmp_path)
    renewed = fill("bob", renew=True)
    third = content(tmp_path)

    assert (added, list(changed(first, second))) == (["clients/bob"], ["ca.pem", "cert.pem", "key.pem"])
    assert len(renewed) == 10
    assert not {"clients-authority.pem", "mesh-authority-key.pem", "users.conf", "put"} & set(changed(second, third))
    assert shake(at(tmp_path / "gateway/public").server.server_context(), at(tmp_path / "clients/alice").client(), "localhost") == "alice"
