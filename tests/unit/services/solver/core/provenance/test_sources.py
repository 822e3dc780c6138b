"""What ops stand for."""

import pytest

from services.solver.core.provenance.sources import ImageSource, Sources, note, redacted
from shared.llb import BuildOp, ExecOp, FileSecret, Meta, Mount, MountType, NetMode, Op, SecretEnv, SourceOp
from shared.model import parse_platform

AMD64 = parse_platform("linux/amd64")
DIGEST = "sha256:" + "a" * 64


def noted(*ops: Op, pin: str = "") -> Sources:
    found = Sources()
    for op in ops:
        note(found, op, pin)
    return found


def test_images_by_name_platform_and_where_they_are_from() -> None:
    image = Op(kind=SourceOp(identifier="docker-image://docker.io/library/a:1"), platform=AMD64)
    layout = Op(kind=SourceOp(identifier="oci-layout://x/y:1"), platform=AMD64)

    found = noted(image, image, layout, pin=DIGEST)

    assert found.images == [
        ImageSource(ref="docker.io/library/a:1", platform=AMD64, digest=DIGEST),
        ImageSource(ref="x/y:1", platform=AMD64, digest=DIGEST, local=True),
    ]


def test_a_pinned_name_is_left_out_where_its_tag_is_there() -> None:
    found = Sources(images=[ImageSource(ref=f"docker.io/library/a:1@{DIGEST}"), ImageSource(ref="docker.io/library/a:1")])
    alone = Sources(images=[ImageSource(ref=f"docker.io/library/a:2@{DIGEST}")])

    assert [image.ref for image in found.named_images()] == ["docker.io/library/a:1"]
    assert [image.ref for image in alone.named_images()] == [f"docker.io/library/a:2@{DIGEST}"]


def test_repositories_files_and_folders() -> None:
    attrs = {"git.fullurl": "https://me:pw@example.org/x.git", "git.authtokensecret": "T", "git.mountsshsock": "default"}
    git = noted(Op(kind=SourceOp(identifier="git://example.org/x.git#v1:sub", attrs=attrs)), pin="c0ffee")
    rest = noted(Op(kind=SourceOp(identifier="https://u@example.org/f")), Op(kind=SourceOp(identifier="local://context")), pin=DIGEST)

    assert git.git == {"https://xxxxx:xxxxx@example.org/x.git#v1": "c0ffee"}
    assert (git.secrets, git.ssh) == ({"T": True}, {"default": True})
    assert rest.http == {"https://xxxxx@example.org/f": DIGEST}
    assert rest.local == {"context"}
    attrs = {"git.fullurl": "https://u@example.org/x", "git.bundle": "docker-image+blob://b"}
    bundled = noted(Op(kind=SourceOp(identifier="git://example.org/x", attrs=attrs)), pin="c0ffee")
    assert bundled.bundles == {("https://xxxxx@example.org/x", "docker-image+blob://b")}


def test_steps_tell_secrets_agents_and_the_network() -> None:
    mounts = (
        Mount(dest="/s", type=MountType.SECRET, secret=FileSecret(id="s", optional=True)),
        Mount(dest="/t", type=MountType.SECRET, secret=FileSecret(id="s")),
        Mount(dest="/a", type=MountType.SSH, ssh=FileSecret(id="", optional=True)),
    )
    step = ExecOp(meta=Meta(args=("x",)), mounts=mounts, network=NetMode.NONE, secret_env=(SecretEnv(id="e", name="E", optional=True),))

    found = noted(Op(kind=step))

    assert found.secrets == {"s": False, "e": True}
    assert found.ssh == {"default": True}
    assert not found.network
    assert noted(Op(kind=ExecOp(meta=Meta(args=("x",)), mounts=()))).network


def test_builds_within_builds_are_not_looked_into() -> None:
    assert noted(Op(kind=BuildOp(builder=-1))).incomplete


def test_merging_keeps_the_first_pin_and_the_stricter_wish() -> None:
    one, two = Sources(git={"u": "1"}, secrets={"s": True}), Sources(git={"u": "2", "v": "3"}, secrets={"s": False}, network=True)

    one.merge(two)

    assert one.git == {"u": "1", "v": "3"}
    assert one.secrets == {"s": False}
    assert one.network


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@host/p?q#f", "https://xxxxx:xxxxx@host/p?q#f"),
        ("ssh://git@host/p", "ssh://xxxxx@host/p"),
        ("https://:pass@host/", "https://:xxxxx@host/"),
        ("git@host:p", "git@host:p"),
        ("https://[bad", "https://[bad"),
    ],
)
def test_credentials_never_show(url: str, shown: str) -> None:
    assert redacted(url) == shown
