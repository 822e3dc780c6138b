"""The kit itself: its servers are the real ones, answer, and end with their block; its images are valid to a stranger's eye."""

import json
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.kit import images
from tests.kit.parts.jaeger import Jaeger
from tests.kit.parts.minio import S3
from tests.kit.parts.nats import Nats, nats_server
from tests.kit.parts.process import program
from tests.kit.parts.registry import Registry
from tests.kit.stack import write_environment

pytestmark = pytest.mark.slow


def test_nats_keeps_its_files_over_a_kill(tmp_path: Path) -> None:
    """A server that was killed comes back on the same folder and port."""
    with nats_server(tmp_path) as first:
        first.part.kill()
        assert not first.part.alive
        with nats_server(tmp_path, port=int(first.url.rpartition(":")[2])) as second:
            assert second.url == first.url
            assert second.part.alive
    assert not second.part.alive


def test_nats_has_jetstream(nats: Nats) -> None:
    """The monitor says where JetStream keeps its files."""
    with urllib.request.urlopen(f"{nats.monitor}/jsz", timeout=5) as answer:
        assert json.load(answer)["config"]["store_dir"].startswith(str(nats.store))


def test_a_shell_reads_the_environment_of_a_stack(tmp_path: Path) -> None:
    """Values are quoted, and nobody else may read them; a file of an earlier stack is replaced."""
    file = tmp_path / "environment"
    file.write_text("export A=old")
    write_environment(file, {"A": "a b'c$HOME", "B": ""})
    said = subprocess.run(["sh", "-c", '. "$0"; printf %s "$A|$B"', str(file)], capture_output=True, text=True, check=True, timeout=10)
    assert said.stdout == "a b'c$HOME|"
    assert file.stat().st_mode & 0o777 == 0o600


def test_s3_takes_the_credentials_it_names(s3: S3) -> None:
    """The bucket is there for minio's own client library."""
    from minio import Minio

    client = Minio(endpoint=s3.endpoint, access_key=s3.access_key, secret_key=s3.secret_key, secure=False, region="us-east-1")

    assert client.bucket_exists(bucket_name=s3.bucket)


def test_jaeger_answers(jaeger: Jaeger) -> None:
    """It tells which services have sent spans, and knows no trace that nobody sent."""
    assert isinstance(jaeger.services(), list)
    assert jaeger.trace("0123456789abcdef0123456789abcdef") is None


@pytest.mark.parametrize("name", ["busybox", pytest.param("debian", marks=pytest.mark.root)])
def test_images_are_valid_and_in_the_registry(name: str, registry: Registry, tmp_path: Path) -> None:
    """skopeo reads the image back from the registry, umoci unpacks it, and a shell is in it."""
    reference = images.push(name, registry.host, repository=f"kit/{name}")
    skopeo = [program("skopeo"), "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]
    subprocess.run([*skopeo, f"docker://{reference}", f"oci:{tmp_path}/layout:latest"], check=True, timeout=120)
    subprocess.run(
        [program("umoci"), "unpack", "--rootless", "--image", f"{tmp_path}/layout:latest", f"{tmp_path}/bundle"], check=True, timeout=120
    )

    assert (tmp_path / "bundle/rootfs/bin/sh").is_symlink()
