"""Solve requests: what legacy fields mean and what is refused before any work."""

from dataclasses import replace

import pytest

from services.gateway.core.solve_request import Part, SolveRequest, canonical, check_entitlements, parse_attestations
from shared.errors import BuildmeshError, Code, InvalidInput, UserError

BASE = SolveRequest(ref="abc")


def accept(**fields: object) -> SolveRequest:
    return canonical(replace(BASE, **fields), allowed_entitlements=())  # type: ignore[arg-type]


def test_legacy_exporter_counts_only_without_a_list() -> None:
    """The Go client fills both; both must not export twice."""
    legacy, listed = Part(type="oci"), Part(type="image", attrs={"name": "x"})

    assert accept(legacy_exporter=legacy).exporters == (legacy,)
    assert accept(legacy_exporter=legacy, exporters=(listed,)).exporters == (listed,)


def test_legacy_cache_fields_become_registry_entries() -> None:
    """ExportRef and ImportRefs are folded into the lists."""
    request = accept(legacy_export_ref="r/e", legacy_export_attrs={"mode": "max"}, legacy_import_refs=("r/a", "r/b"))

    assert request.cache_exports == (Part(type="registry", attrs={"mode": "max", "ref": "r/e"}),)
    assert request.cache_imports == (Part(type="registry", attrs={"ref": "r/a"}), Part(type="registry", attrs={"ref": "r/b"}))


def test_source_date_epoch_reaches_exporters_that_have_none() -> None:
    """The build argument is copied unless the exporter says otherwise."""
    exporters = (Part(type="image"), Part(type="oci", attrs={"source-date-epoch": "5"}))
    request = accept(frontend_attrs={"build-arg:SOURCE_DATE_EPOCH": "1"}, exporters=exporters)

    assert [e.attrs["source-date-epoch"] for e in request.exporters] == ["1", "5"]


def test_a_source_date_epoch_that_is_no_number_is_for_the_frontend_alone() -> None:
    request = accept(frontend_attrs={"build-arg:SOURCE_DATE_EPOCH": "context"}, exporters=(Part(type="image"),))

    assert "source-date-epoch" not in request.exporters[0].attrs


@pytest.mark.parametrize(("given", "used"), [(0, 30), (10, 10), (20, 20), (30, 30)])
def test_compatibility_version(given: int, used: int) -> None:
    """Zero means the current one."""
    assert accept(compatibility_version=given).compatibility_version == used


def test_repeated_inline_cache_exports_are_one() -> None:
    """Only inline may repeat."""
    assert len(accept(cache_exports=(Part(type="inline"), Part(type="inline"))).cache_exports) == 1


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"compatibility_version": 31}, "upgrade buildkit"),
        ({"compatibility_version": -1}, "unsupported compatibility-version -1"),
        ({"exporters": (Part(type="x"),)}, 'exporter "x" could not be found'),
        ({"cache_exports": (Part(type="x"),)}, 'unknown cache exporter: "x"'),
        ({"cache_exports": (Part(type="local"), Part(type="local"))}, r"duplicate cache exports \[local\]"),
        ({"cache_exports": (Part(type="registry", attrs={"ref": "a"}),), "legacy_export_ref": "a"}, "duplicate cache exports"),
        ({"entitlements": ("network.host",)}, "granting entitlement network.host is not allowed"),
        ({"entitlements": ("root",)}, "unknown entitlement root"),
        ({"frontend_attrs": {"attest:other": ""}}, 'unknown attestation type "other"'),
        ({"frontend_attrs": {"attest:sbom": "generator="}}, "sbom generator cannot be empty"),
        ({"frontend_attrs": {"attest:provenance": "version=v9"}}, "invalid provenance SLSA version: v9"),
        ({"frontend_attrs": {"attest:provenance": '"a'}}, "failed to parse provenance"),
        ({"definition": b"x", "frontend": "dockerfile.v0"}, "both Definition and Frontend"),
    ],
)
def test_refused_as_a_plain_error(fields: dict[str, object], text: str) -> None:
    """Code UNKNOWN, so that clients print the bare message."""
    with pytest.raises(UserError, match=text) as caught:
        accept(**fields)
    assert caught.value.status_code is Code.UNKNOWN


@pytest.mark.parametrize("ref", ["", "a/b", "a b", "..", "a\n", ">", "*", "a" * 129, "é"])
def test_hostile_refs_are_refused(ref: str) -> None:
    """A ref becomes a bus subject, so its alphabet is closed."""
    with pytest.raises(InvalidInput, match="invalid build ref"):
        accept(ref=ref)
    with pytest.raises(BuildmeshError):
        accept(session="../x")


def test_source_policies_are_handed_on() -> None:
    """A rule that denies something must not be dropped."""
    found = accept(source_policy=b"x", source_policy_session="s1")

    assert (found.source_policy, found.source_policy_session) == (b"x", "s1")


def test_granted_entitlements_pass() -> None:
    """A device may carry its name."""
    check_entitlements(["network.host", "device=vendor.com/x=1"], allowed={"network.host", "device"})


def test_attestation_defaults() -> None:
    """Both spellings, defaults filled in."""
    parsed = parse_attestations({"attest:provenance": "mode=max", "build-arg:BUILDKIT_ATTEST_SBOM": ""})

    assert parsed == {"provenance": {"version": "v1", "mode": "max"}, "sbom": {"generator": "docker/buildkit-syft-scanner:stable-1"}}
