"""Layer media types translate between families without losing compression or foreignness."""

import pytest

from shared.oci import Compression, convert_media_type, detect_compression, layer_compression, layer_media_type
from shared.oci.media_types import DOCKER_CONFIG, OCI_CONFIG, is_foreign, is_layer


@pytest.mark.parametrize("compression", list(Compression))
@pytest.mark.parametrize("foreign", [False, True])
def test_there_and_back(compression: Compression, foreign: bool) -> None:
    """OCI to Docker to OCI is the identity."""
    oci = layer_media_type(compression, oci=True, foreign=foreign)
    docker = convert_media_type(oci, oci=False)

    assert oci == convert_media_type(docker, oci=True)
    assert is_layer(docker) and is_foreign(docker) is foreign
    assert layer_compression(oci) == (Compression.GZIP if compression is Compression.ESTARGZ else compression)


def test_names() -> None:
    """The exact strings, and unknown types untouched."""
    assert layer_media_type(Compression.GZIP, oci=False) == "application/vnd.docker.image.rootfs.diff.tar.gzip"
    assert layer_media_type(Compression.ZSTD, oci=True) == "application/vnd.oci.image.layer.v1.tar+zstd"
    assert convert_media_type(OCI_CONFIG, oci=False) == DOCKER_CONFIG
    assert convert_media_type("a/b", oci=False) == "a/b"
    with pytest.raises(ValueError, match="not a layer"):
        layer_compression("a/b")


def test_magic() -> None:
    """Compression is told by the first bytes; too few bytes mean none."""
    assert detect_compression(b"\x1f\x8b\x08\x00") == Compression.GZIP
    assert detect_compression(b"\x28\xb5\x2f\xfd") == Compression.ZSTD
    assert detect_compression(b"\x1f") == Compression.UNCOMPRESSED
