"""Durations and sizes as buildkitd reads them."""

import pytest

from services.daemon.amounts import (
    HOUR,
    SECOND,
    Caps,
    Disk,
    default_caps,
    default_policy,
    parse_duration,
    parse_keep_storage,
    parse_space,
    percent,
)
from shared.errors import InvalidInput


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("48h", 48 * HOUR),
        ("1h30m", 5400 * SECOND),
        ("1.5s", SECOND * 3 // 2),
        ("90", 90 * SECOND),
        (90, 90 * SECOND),
        ("", 0),
        ("-1s", -SECOND),
    ],
)
def test_durations(value: object, expected: int) -> None:
    assert parse_duration(value, "k") == expected


@pytest.mark.parametrize("value", ["2 days", "h", "1h x", True, 1.5, []])
def test_bad_durations_name_the_key(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"history\.maxAge"):
        parse_duration(value, "history.maxAge")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5), ("5", 5), ("512MB", 512 << 20), ("512mb", 512 << 20), ("1.5g", 3 << 29), ("2 GiB", 2 << 30), ("", 0), ("10%", 11 * 10**9)],
)
def test_sizes_are_binary(value: object, expected: int) -> None:
    assert parse_space(value, "k", Disk(total=100 << 30)) == expected


@pytest.mark.parametrize("value", ["many", "-5%", "5 parsecs", True, 1.5])
def test_bad_sizes_name_the_key(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"worker\.oci\.x"):
        parse_space(value, "worker.oci.x", Disk())


def test_percentages_round_as_buildkit_does() -> None:
    assert percent(10, Disk(total=100 << 30)) == 11 * 10**9
    assert percent(10, Disk()) == 2 * 10**9
    assert percent(0, Disk()) == 0


def test_default_caps_are_bounded() -> None:
    assert default_caps(Disk(total=1000 << 30)) == Caps(reserved=10 * 10**9, max_used=100 * 10**9, min_free=201 * 10**9)


def test_the_default_policy_has_four_rules_of_which_the_last_takes_all() -> None:
    rules = default_policy(Caps(), Disk(total=1000 << 30))

    assert [r.all for r in rules] == [False, False, False, True]
    assert rules[0].max_used_space == 512 * 10**6
    assert rules[0].keep_duration == 48 * HOUR
    assert {r.reserved_space for r in rules[1:]} == {10 * 10**9}


def test_one_cap_replaces_all_defaults() -> None:
    rule = default_policy(Caps(reserved=5), Disk(total=1000 << 30))[2]

    assert (rule.reserved_space, rule.max_used_space, rule.min_free_space) == (5, 0, 0)


def test_keep_storage_is_in_decimal_megabytes() -> None:
    assert parse_keep_storage("100") == Caps(reserved=100 * 10**6)
    assert parse_keep_storage("100,200,300") == Caps(reserved=10**8, min_free=2 * 10**8, max_used=3 * 10**8)
    with pytest.raises(InvalidInput, match="lots"):
        parse_keep_storage("lots")
