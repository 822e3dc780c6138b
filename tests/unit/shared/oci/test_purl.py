"""Package URLs of images."""

import pytest

from shared.model import parse_platform
from shared.oci.purl import image_purl

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("reference", "platform", "wanted"),
    [
        ("busybox", None, "pkg:docker/busybox@latest"),
        ("docker.io/library/busybox:1.36", "linux/amd64", "pkg:docker/busybox@1.36?platform=linux%2Famd64"),
        ("me/app", "linux/arm/v7", "pkg:docker/me/app@latest?platform=linux%2Farm%2Fv7"),
        (f"busybox:1@{DIGEST}", None, f"pkg:docker/busybox@1?digest={DIGEST}"),
        (f"busybox@{DIGEST}", "linux/amd64", f"pkg:docker/busybox?digest={DIGEST}&platform=linux%2Famd64"),
        ("localhost:5000/a/b:x", None, "pkg:docker/localhost%3A5000/a/b@x"),
    ],
)
def test_names_and_platforms_are_written_as_buildkit_writes_them(reference: str, platform: str | None, wanted: str) -> None:
    assert image_purl(reference, parse_platform(platform) if platform else None) == wanted


def test_kind_and_further_qualifiers_are_given() -> None:
    assert image_purl("x/y:1", kind="oci", ref_type="blob") == "pkg:oci/x/y@1?ref_type=blob"


def test_what_is_no_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid reference"):
        image_purl("Not A Name")
