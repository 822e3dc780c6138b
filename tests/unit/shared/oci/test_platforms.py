"""Which image runs where (containerd's platforms.Only)."""

import pytest

from shared.model import Platform, format_platform, parse_platform
from shared.oci import best_match, platform_chain


@pytest.mark.parametrize(
    ("platform", "chain"),
    [
        ("linux/amd64", ["linux/amd64", "linux/386"]),
        ("linux/amd64/v3", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]),
        ("linux/arm64", ["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm/v6", ["linux/arm/v6", "linux/arm/v5"]),
        ("linux/riscv64", ["linux/riscv64"]),
    ],
)
def test_chain(platform: str, chain: list[str]) -> None:
    """The platform itself first, then what it can also run."""
    assert chain == [format_platform(p) for p in platform_chain(parse_platform(platform))]


def test_best_match() -> None:
    """The best of several; among equals the first; without a platform only where nothing else fits; foreign ones never."""
    offered = [
        ("none", None),
        ("v1", parse_platform("linux/amd64")),
        ("v2", parse_platform("linux/amd64/v2")),
        ("again", parse_platform("linux/amd64")),
    ]
    amd = parse_platform("linux/amd64")

    assert best_match(amd, offered) == "v1"
    assert best_match(parse_platform("linux/amd64/v3"), offered) == "v2"
    assert best_match(parse_platform("linux/s390x"), offered) == "none"
    assert best_match(amd, [("w", parse_platform("windows/amd64"))]) is None
    assert best_match(amd, [("u", Platform(os="unknown", architecture="unknown"))]) is None


def test_os_versions_must_agree_when_both_are_told() -> None:
    """As windows images need it."""
    wanted = Platform(os="windows", architecture="amd64", os_version="10.0.1")

    assert best_match(wanted, [("x", Platform(os="windows", architecture="amd64", os_version="10.0.2"))]) is None
    assert best_match(wanted, [("y", Platform(os="windows", architecture="amd64"))]) == "y"
