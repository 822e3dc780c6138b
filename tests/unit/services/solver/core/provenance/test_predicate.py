"""The documents. That they are BuildKit's, byte for byte but for times and ids, is shown in tests/compat/test_provenance.py."""

import json
from dataclasses import replace
from typing import Any

import pytest

from services.solver.core.provenance.predicate import Facts, Slsa, Wishes, parse_wishes, predicate
from services.solver.core.provenance.request import Asked
from services.solver.core.provenance.sources import ImageSource, Sources
from shared.errors import BuildFailed
from shared.model import parse_platform

FACTS = Facts(
    asked=Asked(frontend="dockerfile.v0", args={"build-arg:A": "1", "vcs:revision": "r", "vcs:source": "https://u:p@example.org/x"}),
    sources=Sources(
        images=[ImageSource(ref="docker.io/library/a:1", digest="sha256:" + "a" * 64)],
        git={"https://example.org/x.git#v1": "b" * 40},
        secrets={"s": True},
        ssh={"default": False},
    ),
    invocation="inv",
    started=1_700_000_000_500_000_000,
    finished=1_700_000_001_000_000_000,
    platform=parse_platform("linux/amd64"),
    compatibility=30,
    env={"who": "us"},
)


def made(wishes: Wishes, facts: Facts = FACTS) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(predicate(facts, wishes))
    return document


def test_v1() -> None:
    document = made(Wishes(builder_id="b", reproducible=True))
    definition, run = document["buildDefinition"], document["runDetails"]

    assert definition["resolvedDependencies"] == [
        {"uri": "pkg:docker/a@1", "digest": {"sha256": "a" * 64}},
        {"uri": "https://example.org/x.git#v1", "digest": {"sha1": "b" * 40}},
    ]
    assert definition["externalParameters"]["request"] == {
        "frontend": "dockerfile.v0",
        "args": {"build-arg:A": "1"},
        "secrets": [{"id": "s", "optional": True}],
        "ssh": [{"id": "default"}],
        "compatibilityVersion": 30,
    }
    assert definition["internalParameters"] == {"builderPlatform": "linux/amd64", "dockerfileVersion": "1.26.0", "who": "us"}
    assert run["builder"] == {"id": "b"}
    assert run["metadata"] == {
        "invocationId": "inv",
        "startedOn": "2023-11-14T22:13:20.5Z",
        "finishedOn": "2023-11-14T22:13:21Z",
        "buildkit_metadata": {"vcs": {"revision": "r", "source": "https://xxxxx:xxxxx@example.org/x"}},
        "buildkit_hermetic": True,
        "buildkit_completeness": {"request": True, "resolvedDependencies": True},
        "buildkit_reproducible": True,
    }


def test_v02_says_the_same_in_other_words() -> None:
    document = made(Wishes(version=Slsa.V02))

    assert document["buildType"] == "https://mobyproject.org/buildkit@v1"
    assert [material["uri"] for material in document["materials"]] == ["pkg:docker/a@1", "https://example.org/x.git#v1"]
    assert document["invocation"]["environment"] == {"dockerfileVersion": "1.26.0", "platform": "linux/amd64", "who": "us"}
    assert document["metadata"]["completeness"] == {"parameters": True, "environment": True, "materials": True}


def test_min_leaves_out_arguments_and_secrets_and_says_so() -> None:
    document = made(Wishes(full=False))

    assert document["buildDefinition"]["externalParameters"]["request"] == {"frontend": "dockerfile.v0", "compatibilityVersion": 30}
    assert document["runDetails"]["metadata"]["buildkit_completeness"]["request"] is False


def test_local_sources_make_materials_incomplete() -> None:
    facts = replace(FACTS, sources=Sources(local={"context"}))
    metadata = made(Wishes(), facts)["runDetails"]["metadata"]

    assert metadata["buildkit_completeness"]["resolvedDependencies"] is False
    assert "buildkit_hermetic" not in metadata
    with pytest.raises(BuildFailed, match="provenance materials are incomplete") as caught:
        predicate(facts, Wishes(complete_materials=True))
    assert caught.value.detail("errdefs.ProvenanceMaterialsIncomplete+json") is not None


def test_network_access_is_not_hermetic() -> None:
    assert "buildkit_hermetic" not in made(Wishes(), replace(FACTS, sources=Sources(network=True)))["runDetails"]["metadata"]


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"mode": "most"}, 'invalid mode "most"'),
        ({"version": "v9"}, "invalid provenance SLSA version: v9"),
        ({"reproducible": "perhaps"}, 'failed to parse reproducible flag "perhaps"'),
    ],
)
def test_bad_wishes_are_named(attrs: dict[str, str], message: str) -> None:
    with pytest.raises(BuildFailed, match=message):
        parse_wishes(attrs)


def test_wishes() -> None:
    assert parse_wishes({}) == Wishes()
    assert parse_wishes({"mode": "full", "version": "v0.2", "inline-only": "true", "filename": "p.json"}) == Wishes(
        version=Slsa.V02, inline_only=True, filename="p.json"
    )


def test_the_bundle_of_a_repository_is_a_material_too() -> None:
    locator = "oci-layout+blob://store/x@sha256:" + "c" * 64
    url = "https://example.org/x.git#v1"
    document = made(Wishes(), replace(FACTS, sources=Sources(git={url: "b" * 40}, bundles={(url, locator), ("other", "x://y@z")})))

    assert document["buildDefinition"]["resolvedDependencies"] == [
        {"uri": url, "digest": {"sha1": "b" * 40}},
        {
            "uri": "pkg:oci/store/x@latest?ref_type=bundle&vcs_url=https:%2F%2Fexample.org%2Fx.git%23v1",
            "digest": {"sha256": "c" * 64},
        },
    ]
