"""Platforms that were asked for, and those of the result."""

import pytest

from services.solver.core.result_check import platform_warnings
from shared.model import parse_platform
from shared.oci.result_platforms import TargetPlatform

AMD64 = parse_platform("linux/amd64")


@pytest.mark.parametrize(
    ("asked", "found", "is_map", "told"),
    [
        (None, "linux/amd64", False, ""),
        (None, "linux/arm64", False, 'Requested platform "linux/amd64" does not match result platform "linux/arm64"'),
        ("linux/arm64", "linux/arm64/v8", False, ""),
        ("windows/amd64", "windows(10.0.1)/amd64", False, ""),
        ("linux/amd64,linux/arm64", "linux/amd64", False, "Multiple platforms requested but result is not multi-platform"),
        ("linux/amd64,linux/arm64", "linux/arm64 linux/amd64", True, ""),
        (
            "linux/amd64,linux/arm64",
            "linux/arm64",
            True,
            "Requested platforms linux/amd64,linux/arm64 do not match result platforms linux/arm64",
        ),
        (
            "linux/amd64",
            "linux/s390x linux/arm64",
            True,
            "Requested platforms linux/amd64 do not match result platforms linux/arm64,linux/s390x",
        ),
        ("linux/amd64,linux/amd64", "linux/amd64", True, 'Duplicate platform result requested "linux/amd64"'),
        ("a b", "linux/amd64", False, 'Invalid platform result requested "a b": '),
    ],
)
def test_differences(asked: str | None, found: str, is_map: bool, told: str) -> None:
    targets = [TargetPlatform(id=text, platform=parse_platform(text)) for text in found.split()]
    warnings = platform_warnings({} if asked is None else {"platform": asked}, targets, AMD64, is_map=is_map)

    assert len(warnings) == bool(told)
    assert all(text.startswith(told) for text in warnings)
