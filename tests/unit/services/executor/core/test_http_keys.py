"""Names and keys of http sources."""

import pytest

from services.executor.core.http_keys import cache_key, file_name, parse_http_time, url_key
from services.executor.core.source_ids import HttpSource


@pytest.mark.parametrize(
    ("url", "disposition", "name"),
    [
        ("http://h/a/b.tar", "", "b.tar"),
        ("http://h/a/b%20c", "", "b c"),
        ("http://h/", "", "download"),
        ("http://h/..", "", "download"),
        ("http://h/%2e%2e%2fetc", "", "download"),
        ("http://h/x", 'attachment; filename="y.zip"', "y.zip"),
        ("http://h/x", "attachment; filename=../../evil", "evil"),
    ],
)
def test_file_names_stay_in_the_root(url: str, disposition: str, name: str) -> None:
    """Servers are not trusted with names."""
    assert file_name(HttpSource(url=url), disposition) == name


def test_pinned_and_unpinned_differ() -> None:
    """By the modification time."""
    source = HttpSource(url="http://h/x")

    assert cache_key(source, "x", "sha256:1", 0) != cache_key(source, "x", "sha256:1", 10**9)
    assert url_key(source) != url_key(HttpSource(url="http://h/x", uid=1))


def test_times() -> None:
    """What is no date is no date."""
    assert parse_http_time("Thu, 01 Jan 1970 00:00:05 GMT") == 5
    assert parse_http_time("yesterday") == 0
