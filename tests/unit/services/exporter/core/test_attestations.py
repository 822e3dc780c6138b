"""Statements, and what carries them."""

import json

import pytest

from services.exporter.core.attestations import (
    Predicate,
    Subject,
    SubjectKind,
    SubjectWish,
    carrier,
    image_subjects,
    statement,
    statement_files,
)
from shared.errors import BuildFailed
from shared.model import Digest, parse_platform, sha256_digest
from shared.oci import Descriptor

IMAGE = Descriptor(media_type="application/vnd.oci.image.manifest.v1+json", digest=sha256_digest(b"m"), size=1)
OWN = [Subject(name="own", digests={"sha256": "ab"})]


def provenance(**more: object) -> Predicate:
    return Predicate(path="provenance.json", predicate_type="https://slsa.dev/provenance/v1", data=b'{"a": 1}', **more)  # type: ignore[arg-type]


def test_a_statement_names_the_result_itself() -> None:
    assert statement(provenance(), OWN) == {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "https://slsa.dev/provenance/v1",
        "subject": [{"name": "own", "digest": {"sha256": "ab"}}],
        "predicate": {"a": 1},
    }


def test_subjects_may_be_given_by_name_and_digest() -> None:
    wishes = (SubjectWish(name="also"), SubjectWish(kind=SubjectKind.RAW, digests={"sha256": "cd"}))

    assert statement(provenance(subjects=wishes), OWN)["subject"] == [
        {"name": "own", "digest": {"sha256": "ab"}},
        {"name": "also", "digest": {"sha256": "ab"}},
        {"name": "_", "digest": {"sha256": "cd"}},
    ]


def test_an_image_is_a_subject_under_each_name() -> None:
    subjects = image_subjects("a/b:1,localhost:5000/c", parse_platform("linux/arm64"), Digest("sha256:" + "a" * 64))

    assert [s.name for s in subjects] == [
        "pkg:docker/a/b@1?platform=linux%2Farm64",
        "pkg:docker/localhost%3A5000/c@latest?platform=linux%2Farm64",
    ]
    assert image_subjects("", parse_platform("linux/arm64"), IMAGE.digest) == []
    with pytest.raises(BuildFailed, match="failed to parse ref"):
        image_subjects("Not a name", parse_platform("linux/arm64"), IMAGE.digest)


def test_the_carrier_is_an_artifact_about_the_image() -> None:
    made = carrier(IMAGE, [statement(provenance(), OWN)], artifact=True)
    manifest = json.loads(made.blobs[0][1])

    assert made.descriptor.platform == parse_platform("unknown/unknown")
    assert made.descriptor.annotations == {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": IMAGE.digest,
    }
    assert manifest["artifactType"] == "application/vnd.docker.attestation.manifest.v1+json"
    assert manifest["subject"]["digest"] == IMAGE.digest
    assert manifest["config"]["data"] == "e30="
    assert manifest["layers"][0]["annotations"] == {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"}
    assert [d.digest for d, data in made.blobs] == [sha256_digest(data) for d, data in made.blobs]


def test_the_carrier_can_be_an_image() -> None:
    made = carrier(IMAGE, [statement(provenance(), OWN)], artifact=False)
    manifest, config = (json.loads(data) for _, data in made.blobs[:2])

    assert "subject" not in manifest
    assert "artifactType" not in manifest
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    assert (config["os"], config["architecture"]) == ("unknown", "unknown")


def test_files_are_named_after_prefix_and_platform() -> None:
    files = statement_files([provenance()], OWN, prefix="p-", platform_id="linux/amd64")

    assert [name for name, _ in files] == ["p-provenance.linux_amd64.json"]
    with pytest.raises(BuildFailed, match="duplicate attestation path name"):
        statement_files([provenance(), provenance()], OWN, prefix="", platform_id="")


def test_a_predicate_that_is_no_json_is_refused() -> None:
    with pytest.raises(BuildFailed, match="cannot read in-toto attestation"):
        statement(Predicate(path="p", predicate_type="t", data=b"{"), OWN)
