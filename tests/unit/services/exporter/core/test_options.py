"""Exporter attributes."""

import pytest

from services.exporter.core.annotations import Annotation, Target
from services.exporter.core.epoch import Epoch
from services.exporter.core.options import Kind, parse_options
from shared.errors import BuildFailed, BuildmeshError


def test_empty_flags_mean_true_and_unknown_attributes_are_kept() -> None:
    """`push=` pushes; what we don't know joins the metadata."""
    options = parse_options("image", {"name": "a,b", "push": "", "foo": "bar", "annotation-index.x.y": "1"})

    assert (options.push, options.name, dict(options.extra)) == (True, "a,b", {"foo": "bar"})
    assert options.annotations == (Annotation(target=Target.INDEX, platform="", key="x.y", value="1"),)


def test_empty_epoch_is_explicitly_none() -> None:
    """It hides the frontend's."""
    assert parse_options("oci", {"source-date-epoch": ""}).epoch == Epoch(seconds=None)
    assert parse_options("oci", {}).epoch is None


def test_unknown_exporter_is_named() -> None:
    """The text is BuildKit's."""
    with pytest.raises(BuildFailed, match='exporter "moby" could not be found'):
        parse_options("moby", {})


@pytest.mark.parametrize(
    ("kind", "attrs", "text"),
    [
        ("image", {"push": "maybe"}, "non-bool value specified for push"),
        ("image", {"oci-mediatypes": ""}, "non-bool value specified for oci-mediatypes"),
        ("image", {"compression": "lzma"}, "unsupported compression type lzma"),
        ("image", {"compression": "gzip", "compression-level": "10"}, "compression-level"),
        ("image", {"compression": "estargz", "oci-mediatypes": "false"}, "conflicts"),
        ("image", {"source-date-epoch": "soon"}, "invalid source-date-epoch"),
        ("image", {"annotation-nope.x": "1"}, "unrecognized annotation type nope"),
        ("local", {"mode": "move"}, "mode"),
        ("local", {"platform-split": "x"}, "platform-split"),
        ("oci", {"tar": "x"}, "non-bool value specified for tar"),
    ],
)
def test_bad_attributes_are_named(kind: str, attrs: dict[str, str], text: str) -> None:
    """Before the build starts."""
    with pytest.raises(BuildmeshError, match=text):
        parse_options(kind, attrs)


def test_oci_types_are_the_default_from_compatibility_30() -> None:
    """Older clients' compatibility versions keep Docker's types."""
    image = parse_options("image", {})

    assert (image.use_oci_types(30, attested=False), image.use_oci_types(20, attested=False)) == (True, False)
    assert parse_options("oci", {}).use_oci_types(10, attested=False)
    assert parse_options("tar", {}).kind is Kind.TAR
