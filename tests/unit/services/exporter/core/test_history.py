"""History and config bytes of exported images."""

import json

import pytest

from services.exporter.core.history import HistoryItem, clamp, config_bytes, normalize, parse_config, parse_history
from shared.errors import InvalidInput
from shared.model import Digest, Layer

NS = 1_000_000_000


def layer(n: int, created: int = 0, description: str = "") -> Layer:
    digest = Digest("sha256:" + f"{n:064x}")
    return Layer(
        digest=digest,
        diff_id=digest,
        size=n,
        media_type="application/vnd.oci.image.layer.v1.tar+gzip",
        created_at=created,
        description=description,
    )


def test_missing_entries_are_appended_with_the_layers_description() -> None:
    """A layer without a history entry gets one that says what made it."""
    items = normalize([HistoryItem(created_by="FROM")], [layer(1, 5 * NS), layer(2, 7 * NS, "RUN x")])

    assert items == [
        HistoryItem(created="1970-01-01T00:00:05Z", created_by="FROM"),
        HistoryItem(created="1970-01-01T00:00:07Z", created_by="RUN x", comment="buildkit.exporter.image.v0"),
    ]


def test_surplus_entries_become_empty_layers() -> None:
    """Entries beyond the last layer can't stand for a layer."""
    items = normalize([HistoryItem(created_by="a"), HistoryItem(created_by="b")], [layer(1, NS)])

    assert [i.empty_layer for i in items] == [False, True]


def test_entries_without_time_take_the_first_new_layers() -> None:
    """A metadata command before the first new layer does not get the base image's time."""
    base = HistoryItem(created="2001-01-01T00:00:00Z")
    items = normalize([base, HistoryItem(created_by="ENV", empty_layer=True), HistoryItem(created_by="RUN")], [layer(1), layer(2, 9 * NS)])

    assert [i.created for i in items] == ["2001-01-01T00:00:00Z", "1970-01-01T00:00:09Z", "1970-01-01T00:00:09Z"]


def test_clamp_keeps_the_base_images_times() -> None:
    """Only what this build added is clamped."""
    base = HistoryItem(created="2030-01-01T00:00:00Z", created_by="base")
    new = HistoryItem(created="2030-01-01T00:00:00Z", created_by="new")

    assert [h.created for h in clamp([base, new], [base], 10)] == ["2030-01-01T00:00:00Z", "1970-01-01T00:00:10Z"]


def test_config_keeps_unknown_fields_and_sorts_the_top_level_only() -> None:
    """Field order below the top level is the frontend's."""
    document = parse_config(b'{"os":"linux","architecture":"amd64","config":{"Z":1,"A":2},"zzz":"<x>"}')
    data = config_bytes(document, diff_ids=[Digest("sha256:" + "0" * 64)], history=[], epoch=None)

    assert data.startswith(
        b'{"architecture":"amd64","config":{"Z":1,"A":2},"created":null,"history":null,"os":"linux","rootfs":{"type":"layers"'
    )
    assert b'"\\u003cx\\u003e"' in data


def test_created_is_clamped_to_the_epoch() -> None:
    """A later creation time would make the digest depend on the clock."""
    document = parse_config(b'{"os":"linux","architecture":"amd64","created":"2024-05-05T01:02:03.5Z"}')

    assert json.loads(config_bytes(document, diff_ids=[], history=[], epoch=7))["created"] == "1970-01-01T00:00:07Z"
    assert json.loads(config_bytes(document, diff_ids=[], history=[], epoch=1 << 40))["created"] == "2024-05-05T01:02:03.5Z"


@pytest.mark.parametrize("data", [b"null", b"[]", b"{", b'{"os":"linux"}', b'{"architecture":"amd64"}'])
def test_bad_configs_are_refused(data: bytes) -> None:
    """The error says that it is the image config."""
    with pytest.raises(InvalidInput, match="image config for export"):
        parse_config(data)


@pytest.mark.parametrize("history", [{"a": 1}, ["x"], [{"created": "yesterday"}], [{"created_by": 5}]])
def test_bad_history_is_refused(history: object) -> None:
    """A hostile frontend gets an error, not a crash."""
    with pytest.raises(InvalidInput, match=r"history|time"):
        parse_history({"history": history})
