"""Results and questions between LLBBridge and the bridge messages."""

import pytest

from shared.bridge import codec
from shared.errors import InvalidInput
from shared.pb import gateway_pb2 as pb
from shared.pb import ops_pb2
from shared.wire.build import Attestation, BridgeRef, BridgeResult, SourceMeta
from shared.wire.source_facts import AttestationChain, ChainBlob, ChecksumWish, ImageWish


def definition(op: bytes) -> bytes:
    message = ops_pb2.Definition()
    getattr(message, "def").append(op)
    return message.SerializeToString()


RESULT = BridgeResult(
    refs={"linux/amd64": BridgeRef(id="r1", definition=definition(b"x")), "linux/arm64": BridgeRef(id="")},
    metadata={"refs.platforms": b"{}"},
    attestations={
        "linux/amd64": (
            Attestation(
                kind=0,
                path="p",
                ref=BridgeRef(id="r2"),
                predicate_type="t",
                metadata={"m": b"v"},
                subjects=({"kind": "1", "name": "n", "digest": "sha256:a,sha256:b"},),
            ),
        )
    },
)


def test_results_survive() -> None:
    """Refs by platform with definitions, metadata and attestations."""
    assert codec.read_result(codec.result_message(RESULT)) == RESULT


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (pb.Result(), BridgeResult()),
        (pb.Result(refDeprecated="r"), BridgeResult(ref=BridgeRef(id="r"))),
        (pb.Result(refsDeprecated=pb.RefMapDeprecated(refs={"k": "r"})), BridgeResult(refs={"k": BridgeRef(id="r")})),
        (pb.Result(ref=pb.Ref()), BridgeResult(ref=BridgeRef(id=""))),
    ],
)
def test_all_ways_of_naming_a_ref(message: pb.Result, expected: BridgeResult) -> None:
    """The deprecated ones and the nil result, which is a Ref with an empty id."""
    assert codec.read_result(message) == expected


def test_scratch_is_a_ref_with_an_empty_id() -> None:
    """Clients dereference it."""
    message = codec.result_message(BridgeResult(ref=BridgeRef(id="")))

    assert message.WhichOneof("result") == "ref"


def test_image_config_request_is_an_image_source() -> None:
    """Registry and OCI layout; other resolver types are refused."""
    found = codec.read_image_config(pb.ResolveImageConfigRequest(Ref="x", Platform=ops_pb2.Platform(OS="linux", Architecture="arm64")))

    assert ops_pb2.SourceOp.FromString(found.source).identifier == "docker-image://x"
    assert found.platform is not None
    assert found.platform.architecture == "arm64"
    layout = codec.read_image_config(pb.ResolveImageConfigRequest(Ref="x", ResolverType=1, StoreID="st"))
    assert ops_pb2.SourceOp.FromString(layout.source).identifier == "oci-layout://x"
    with pytest.raises(InvalidInput, match="unknown resolver type 7"):
        codec.read_image_config(pb.ResolveImageConfigRequest(Ref="x", ResolverType=7))


def test_source_meta_has_only_its_own_part() -> None:
    """A git answer carries no image."""
    source = ops_pb2.SourceOp(identifier="git://h/r").SerializeToString()
    message = codec.source_meta_message(SourceMeta(source=source, git_checksum="c", git_ref="refs/heads/main"))

    assert message.Git.Ref == "refs/heads/main"
    assert not message.HasField("Image")
    assert not message.HasField("HTTP")


def test_what_is_attested_goes_along() -> None:
    """Blobs under their digests, with their descriptors."""
    blob = ChainBlob(media_type="m/t", digest="sha256:a", size=1, data=b"x", annotations={"k": "v"})
    chain = AttestationChain(root="r", image_manifest="i", attestation_manifest="a", signature_manifests=("s",), blobs={"sha256:a": blob})
    meta = SourceMeta(source=ops_pb2.SourceOp(identifier="docker-image://x").SerializeToString(), image_digest="d", chain=chain)

    told = codec.source_meta_message(meta).Image.AttestationChain

    assert (told.Root, told.ImageManifest, told.AttestationManifest, list(told.SignatureManifests)) == ("r", "i", "a", ["s"])
    assert told.Blobs["sha256:a"].data == b"x"
    assert told.Blobs["sha256:a"].descriptor.annotations == {"k": "v"}


def test_wishes_about_images_and_bodies() -> None:
    source = ops_pb2.SourceOp(identifier="https://x")
    asked = pb.ResolveSourceMetaRequest(Source=source, Image=pb.ResolveSourceImageRequest(ResolveAttestations=["t"]))
    assert codec.read_resolve(asked).image == ImageWish(chain=True, predicates=("t",))

    def checksum(algorithm: int, suffix: bytes) -> pb.ResolveSourceMetaRequest:
        http = pb.ResolveSourceHTTPRequest(ChecksumRequest=pb.ChecksumRequest(Algo=algorithm, Suffix=suffix))  # type: ignore[arg-type]
        return pb.ResolveSourceMetaRequest(Source=source, HTTP=http)

    assert codec.read_resolve(pb.ResolveSourceMetaRequest(Source=source)).checksum is None
    assert codec.read_resolve(checksum(2, b"s")).checksum == ChecksumWish(algorithm=2, suffix=b"s")
    with pytest.raises(InvalidInput, match="unsupported checksum algorithm 3"):
        codec.read_resolve(checksum(3, b""))
    with pytest.raises(InvalidInput, match="suffix exceeds max size 4096"):
        codec.read_resolve(checksum(0, b"s" * 4097))
    answer = codec.source_meta_message(SourceMeta(source=b"", http_checksum="c", http_wished="sha256:w", http_suffix=b"s"))
    assert (answer.HTTP.ChecksumResponse.Digest, answer.HTTP.ChecksumResponse.Suffix) == ("sha256:w", b"s")
