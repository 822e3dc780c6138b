"""Image documents."""

import base64
import json

import pytest

from services.exporter.core.archive import archive_entries
from services.exporter.core.image import Part, build_image, plan_image, response
from services.exporter.core.names import archive_names, image_names, push_target
from services.exporter.core.options import parse_options
from shared.errors import InvalidInput
from shared.model import Digest, Layer, Platform, parse_platform, sha256_digest
from shared.oci import validate_image
from shared.oci.result_platforms import TargetPlatform, result_platforms

LINUX = parse_platform("linux/amd64")
CONFIG = b'{"architecture":"amd64","os":"linux","config":{"Env":["A=b"]},"history":[{"created_by":"COPY"}]}'


def layer(text: bytes) -> Layer:
    digest = sha256_digest(text)
    return Layer(digest=digest, diff_id=digest, size=len(text), media_type="application/vnd.oci.image.layer.v1.tar+gzip", created_at=10**9)


def part(id: str = "linux/amd64") -> Part:
    return Part(target=TargetPlatform(id=id, platform=parse_platform(id)), layers=(layer(b"one"),))


def test_single_image_validates_and_answers_the_client() -> None:
    """Root manifest, config digest and descriptor as clients expect."""
    options = parse_options("image", {"name": "busybox", "annotation.k": "v"})
    plan = plan_image(options, {"containerimage.config": CONFIG}, is_map=False, default=LINUX, compatibility=30)
    image = build_image(plan, [part()])
    answer, root = response(image, names="busybox")

    assert validate_image(image.root.digest, {d.digest: d.data for d in image.documents}) == []
    assert answer["containerimage.config.digest"] == image.config_digest
    assert json.loads(base64.b64decode(answer["containerimage.descriptor"]))["platform"] == {"architecture": "amd64", "os": "linux"}
    assert root.digest == answer["containerimage.digest"]
    assert [d.status.split()[1] for d in image.documents] == ["manifest", "config"]


def test_map_results_become_an_index_in_platform_order() -> None:
    """One entry still makes an index."""
    plan = plan_image(parse_options("image", {}), {"containerimage.config": CONFIG}, is_map=True, default=LINUX, compatibility=30)
    image = build_image(plan, [part("linux/arm64"), part("linux/amd64")])
    manifests = json.loads(image.documents[-1].data)["manifests"]

    assert [m["platform"]["architecture"] for m in manifests] == ["arm64", "amd64"]
    assert "containerimage.config.digest" not in response(image, names="")[0]


def test_same_input_same_digest_with_epoch() -> None:
    """Creation times after the epoch don't matter."""
    plan = plan_image(
        parse_options("image", {"source-date-epoch": "1"}), {"containerimage.config": CONFIG}, is_map=False, default=LINUX, compatibility=30
    )
    later = Layer(**{**{f: getattr(layer(b"one"), f) for f in Layer.__slots__}, "created_at": 5 * 10**18})
    one = build_image(plan, [part()])
    two = build_image(plan, [Part(target=part().target, layers=(later,))])

    assert one.root.digest == two.root.digest


def test_archive_is_sorted_and_complete() -> None:
    """Docker's listing names config, tags and layers by path."""
    options = parse_options("docker", {"name": "example.com/x:1"})
    plan = plan_image(options, {"containerimage.config": CONFIG}, is_map=False, default=LINUX, compatibility=30)
    image = build_image(plan, [part()])
    names = archive_names(options, {}).targets
    entries = archive_entries(image, image.root, names, docker=True)
    listing = json.loads(next(e.data or b"" for e in entries if e.name == "manifest.json"))

    assert [e.name for e in entries] == sorted(e.name for e in entries)
    assert listing[0]["RepoTags"] == ["example.com/x:1"]
    assert {e.name for e in entries} >= {"oci-layout", "index.json", *listing[0]["Layers"], listing[0]["Config"]}


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"refs.platforms": b"{}"}, "empty platforms index"),
        ({"refs.platforms": b"nope"}, "failed to parse platforms index"),
        ({"refs.platforms": b'{"Platforms":[{"ID":""}]}'}, "empty platform key"),
        ({"refs.platforms": b'{"Platforms":[{"ID":"x","Platform":{"os":"linux"}}]}'}, "invalid platform value"),
        ({"containerimage.config": b'{"os":"linux"}'}, "os and architecture must be specified together"),
    ],
)
def test_bad_platforms_are_refused(metadata: dict[str, bytes], text: str) -> None:
    """Metadata comes from frontends: hostile."""
    with pytest.raises(InvalidInput, match=text):
        result_platforms(metadata, LINUX)


def test_names() -> None:
    """Lists, `*`, dangling prefixes, pushes by digest."""
    digest = Digest("sha256:" + "a" * 64)
    assert image_names(parse_options("image", {"name": "*"}), {"image.name": b"x,y"}, digest).targets == ("x", "y")
    assert image_names(parse_options("image", {"dangling-name-prefix": "d"}), {}, digest).text == f"d@{digest}"
    assert archive_names(parse_options("oci", {"name": "x"}), {}).text == "docker.io/library/x:latest"
    assert str(push_target("h.example/x", by_digest=True)) == "h.example/x"
    with pytest.raises(InvalidInput, match="can't push tagged ref"):
        push_target("h.example/x:1", by_digest=True)
    with pytest.raises(InvalidInput, match="failed to parse UPPER"):
        archive_names(parse_options("oci", {"name": "UPPER"}), {})


def test_annotation_for_a_missing_platform_is_refused() -> None:
    """It would silently be lost otherwise."""
    options = parse_options("image", {"annotation[linux/arm64].k": "v"})
    plan = plan_image(options, {}, is_map=False, default=Platform(os="linux", architecture="amd64"), compatibility=30)
    with pytest.raises(InvalidInput, match="no platform linux/arm64 found in source"):
        build_image(plan, [part()])
