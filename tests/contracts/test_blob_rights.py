"""Each service in a real MinIO under its own key: what it may do there, what is refused, and that it can change nothing of that."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, S3Error

from services.certs import main as make_certificates
from services.store import main as make_users
from shared.blobs.credentials import FILE, credentials
from shared.blobs.s3 import client_of, http_pool
from shared.blobs.s3_rights import CLAIMS
from shared.errors import BlobMissing, Unavailable
from shared.model import sha256_digest
from shared.run.backends import open_blobs, s3_settings
from shared.run.certificates import Certificates
from shared.wire.roles import ROLES, BlobRight
from tests.kit.parts.minio import S3, s3_server

pytestmark = pytest.mark.slow

BLOB, CLAIM = "sha256/ab/blob", "claims/sha256/ab/claim"
ELSEWHERE = "policies/x"


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blob-rights")
    assert make_certificates(["--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def server(certs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3_server(tmp_path_factory.mktemp("minio"), certs=certs) as started:
        owner = client_of(s3_settings(started.url, started.environment, Certificates(folder=certs / "minio")))
        for name in (BLOB, CLAIM, ELSEWHERE):
            owner.put_object(started.bucket, name, io.BytesIO(b"1"), 1)
        yield started


def settings(server: S3, certs: Path, service: str) -> Any:
    return s3_settings(server.url, {FILE: str(certs / service / "aws")}, Certificates(folder=certs / service))


def may(call: Callable[[], object]) -> bool:
    try:
        call()
    except S3Error as error:
        assert error.code == "AccessDenied", error.code
        return False
    return True


@pytest.mark.parametrize("service", ROLES)
def test_a_service_may_do_what_the_table_says(server: S3, certs: Path, service: str) -> None:
    client, bucket, own = client_of(settings(server, certs, service)), server.bucket, ROLES[service].blobs

    def does(name: str) -> tuple[bool, bool, bool]:
        put = may(lambda: client.put_object(bucket, name, io.BytesIO(b"1"), 1))
        got = may(lambda: client.get_object(bucket, name).read())
        return got, put, may(lambda: client.remove_object(bucket, f"{name}-{service}"))

    assert does(BLOB) == (BlobRight.READ in own, BlobRight.WRITE in own, BlobRight.DELETE in own)
    assert does(CLAIM) == (True, True, True)
    assert does(ELSEWHERE) == (False, False, False)
    assert may(lambda: list(client.list_objects(bucket, recursive=True))) == (BlobRight.LIST in own)
    for change in (lambda: client.make_bucket("mine"), lambda: client.remove_bucket(bucket), lambda: client.delete_bucket_policy(bucket)):
        assert not may(change)


@pytest.mark.parametrize("service", ROLES)
def test_nobody_changes_users_or_rights(server: S3, certs: Path, service: str) -> None:
    """Nor its own key: a taken executor would lock the others out; nor makes itself another one."""
    own = settings(server, certs, service)
    admin = MinioAdmin(
        endpoint=own.endpoint, credentials=StaticProvider(own.access_key, own.secret_key), secure=True, http_client=http_pool(own)
    )
    for order in (
        lambda: admin.user_add(own.access_key, "another-secret"),
        lambda: admin.user_add("somebody", "another-secret"),
        lambda: admin.policy_set("readwrite", user=own.access_key),
        lambda: admin.add_service_account(access_key="for-later", secret_key="for-later-secret"),
        lambda: admin.user_list(),
        lambda: admin.info(),
    ):
        with pytest.raises(MinioAdminException, match="AccessDenied"):
            order()


async def test_a_store_works_under_a_service_s_key(server: S3, certs: Path) -> None:
    """Absent is told from forbidden, the bucket is not asked for, what is damaged makes room for what is whole."""
    data = b"whole" * 1000
    digest = sha256_digest(data)

    def store(service: str, below: str = "") -> Any:
        own = certs / service
        return open_blobs(server.url, environment={FILE: str(own / "aws")}, certificates=Certificates(folder=own), below=below)

    executor, frontend, claims = store("executor"), store("frontend"), store("frontend", CLAIMS)
    assert await executor.find_missing([digest]) == {digest}
    await executor.put(data)
    assert await executor.find_missing([digest]) == frozenset()
    client_of(settings(server, certs, "executor")).put_object(
        server.bucket, f"sha256/{digest[7:9]}/{digest[7:]}", io.BytesIO(b"damaged"), 7
    )
    with pytest.raises(BlobMissing):
        async with executor.open(digest) as reader:
            assert [chunk async for chunk in reader.chunks()]
    assert await executor.find_missing([digest]) == {digest}

    with pytest.raises(Unavailable, match="AccessDenied"):
        await frontend.find_missing([digest])
    assert await claims.find_missing([digest]) == {digest}
    await claims.put(data)
    assert await claims.find_missing([digest]) == frozenset()


def test_to_do_it_again_changes_nothing_and_renews_a_key(
    server: S3, certs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As at each start of a fleet. Who still has MinIO's own key is left alone."""
    users = tmp_path / "users"
    users.mkdir()
    for role in ROLES:
        (users / role).write_bytes((certs / "minio/users" / role).read_bytes())
    (users / "gateway").write_bytes((certs / "minio/aws").read_bytes())
    words = ["--blobs", server.url, "--certificates", str(certs / "minio"), "--users", str(users), "--wait", "5"]

    assert make_users(words, server.environment) == 0
    assert capsys.readouterr().out == "users with rights of their own: cachestore, executor, exporter, frontend, solver\n"
    assert may(lambda: client_of(settings(server, certs, "executor")).get_object(server.bucket, BLOB).read())


def test_what_goes_wrong_is_said(server: S3, certs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key that is not MinIO's own, a service without one, another's, nobody there."""
    words = ["--blobs", server.url, "--certificates", str(certs / "minio"), "--users", str(certs / "minio/users"), "--wait", "0"]
    swapped = tmp_path / "users"
    swapped.mkdir()
    for role in ROLES:
        (swapped / role).write_bytes((certs / "minio/users/executor").read_bytes())
    found = []
    for argv, environment in (
        (words, {FILE: str(certs / "executor/aws")}),
        ([*words[:5], str(tmp_path), *words[6:]], server.environment),
        ([*words[:5], str(swapped), *words[6:]], server.environment),
        (["--blobs", "file:///x"], {}),
        (["--blobs", "s3://127.0.0.1:1/b", *words[4:]], server.environment),
    ):
        assert make_users(argv, environment) == 1
        found.append(capsys.readouterr().err)

    for said, told in zip(found, ("AccessDenied", "can't read", "the key is executor's", "want s3://", "127.0.0.1:1"), strict=True):
        assert told in said
        assert credentials({FILE: str(certs / "executor/aws")})[1] not in said
