"""Each kind of output, looked at by strangers."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Mesh
from tests.kit import judge
from tests.kit.clients import Buildctl, ClientFailed
from tests.kit.parts.dockerd import Docker
from tests.kit.parts.registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.slow]

DOCKERFILE = """\
FROM {busybox}
RUN mkdir /made && echo content > /made/file && ln -s file /made/link && chmod 600 /made/file && chown 12:34 /made/file
COPY sub /copied
CMD ["cat", "/copied/a"]
"""


@pytest.fixture
def folder(context: Callable[..., Path], busybox: str) -> Path:
    return context(DOCKERFILE.format(busybox=busybox), {"sub/a": "a\n", "sub/deep/b": "b\n"})


def is_right(root: Path) -> None:
    """What the Dockerfile says is in the tree."""
    found = judge.tree(root)
    assert found["made/file"][:4] == ("file", 0o600, 12, 34)
    assert found["made/link"][4] == "file"
    assert (root / "copied/deep/b").read_text() == "b\n"
    assert (root / "bin/busybox").exists()


@pytest.mark.parametrize("compression", ["gzip", "zstd", "uncompressed"])
@pytest.mark.parametrize("oci", ["true", "false"])
def test_image_is_pushed(compression: str, oci: str, buildctl: Buildctl, folder: Path, registry: Registry, tmp_path: Path) -> None:
    """Each compression and both families of media types."""
    if compression == "zstd" and oci == "false":
        pytest.skip("zstd needs OCI media types")
    reference = f"{registry.host}/outputs/{compression}-{oci}:one"

    output = f"type=image,name={reference},push=true,compression={compression},force-compression=true,oci-mediatypes={oci}"
    built = buildctl.build(folder, "--output", output)
    layout = judge.fetch(reference, tmp_path / "layout")

    if compression != "zstd":  # this umoci knows no zstd
        is_right(judge.unpack(layout, tmp_path / "bundle") / "rootfs")
    assert built.digest.startswith("sha256:")
    assert len(judge.manifest(layout)["layers"]) == 3


def test_image_has_several_names(buildctl: Buildctl, folder: Path, registry: Registry, tmp_path: Path) -> None:
    """A list of names is pushed under each."""
    names = [f"{registry.host}/outputs/names:{tag}" for tag in ("one", "two")]

    buildctl.build(folder, "--output", f'type=image,"name={",".join(names)}",push=true')

    for number, name in enumerate(names):
        judge.fetch(name, tmp_path / str(number))


@pytest.mark.parametrize(("kind", "archive"), [("oci", "oci-archive"), ("docker", "docker-archive")])
def test_archive_is_an_image(kind: str, archive: str, buildctl: Buildctl, folder: Path, tmp_path: Path) -> None:
    """A tar that skopeo reads and runc can run."""
    file = tmp_path / "image.tar"

    buildctl.build(folder, "--output", f"type={kind},name=example.org/archive:one,dest={file}")
    bundle = judge.unpack(judge.convert(file, archive, tmp_path / "layout"), tmp_path / "bundle")

    is_right(bundle / "rootfs")
    assert judge.run_bundle(bundle) == "a\n"


def test_docker_loads_and_runs_it(buildctl: Buildctl, folder: Path, tmp_path: Path, docker: Docker, mesh: Mesh) -> None:
    """A real Docker Engine takes the docker archive and runs the image."""
    file, name = tmp_path / "image.tar", f"example.org/loaded-{mesh.way}:one"

    buildctl.build(folder, "--output", f"type=docker,name={name},dest={file}")

    assert name in docker.call("load", "--input", str(file))
    assert docker.call("run", "--rm", "--network=none", name) == "a\n"


def test_oci_layout_in_a_folder(buildctl: Buildctl, folder: Path, tmp_path: Path) -> None:
    """tar=false sends the layout through the session's content store."""
    buildctl.build(folder, "--output", f"type=oci,tar=false,dest={tmp_path}/out")
    index = json.loads((tmp_path / "out/index.json").read_text())

    assert (tmp_path / "out/blobs/sha256" / index["manifests"][0]["digest"].removeprefix("sha256:")).exists()


def test_local_folder(buildctl: Buildctl, folder: Path, tmp_path: Path) -> None:
    """Files on the client, with their modes."""
    buildctl.build(folder, "--output", f"type=local,dest={tmp_path}/out")

    assert (tmp_path / "out/made/file").read_text() == "content\n"
    assert (tmp_path / "out/made/file").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "out/made/link").readlink() == Path("file")
    assert (tmp_path / "out/copied/deep/b").exists()


def test_tar(buildctl: Buildctl, folder: Path, tmp_path: Path) -> None:
    """One archive of the whole tree, owners included."""
    buildctl.build(folder, "--output", f"type=tar,dest={tmp_path}/out.tar")

    with tarfile.open(tmp_path / "out.tar") as archive:
        file = archive.getmember("made/file")
        assert (file.uid, file.gid, file.mode & 0o777) == (12, 34, 0o600)


def test_same_epoch_same_digest(buildctl: Buildctl, folder: Path, registry: Registry) -> None:
    """With SOURCE_DATE_EPOCH and rewritten times an image without cache is the same again."""
    digests = set()
    for number in range(2):
        output = f"type=image,name={registry.host}/outputs/epoch:{number},push=true,rewrite-timestamp=true"
        built = buildctl.build(folder, "--no-cache", "--opt", "build-arg:SOURCE_DATE_EPOCH=1700000000", "--output", output)
        digests.add(built.digest)

    assert len(digests) == 1


def test_unknown_output(buildctl: Buildctl, folder: Path) -> None:
    """The kind that nobody knows is named."""
    with pytest.raises(ClientFailed, match="nonsense"):
        buildctl.build(folder, "--output", "type=nonsense")
