"""Records survive their wire form, which is also how they are stored."""

from services.gateway.adapters.history_codec import read_record, record_message
from services.gateway.adapters.records import decode_record, encode_record
from services.gateway.core.history import Blob, BuildRecord, Outcome
from services.gateway.core.solve_request import Part

BLOB = Blob(media_type="m", digest="sha256:x", size=3, annotations={"a": "b"})
FULL = BuildRecord(
    ref="abc",
    created_at=5,
    completed_at=7,
    frontend="dockerfile.v0",
    frontend_attrs={"k": "v"},
    exporters=(Part(type="image", attrs={"name": "n"}),),
    error=(2, "boom"),
    external_error=BLOB,
    logs=BLOB,
    trace=BLOB,
    exporter_response={"r": "s"},
    result=Outcome(results={0: BLOB, 2: BLOB}),
    results={"linux/amd64": Outcome(attestations=(BLOB,))},
    generation=3,
    pinned=True,
    cached_steps=1,
    total_steps=2,
    completed_steps=2,
    warnings=4,
)


def test_round_trip() -> None:
    """Nothing is lost."""
    assert read_record(record_message(FULL)) == FULL
    assert decode_record(encode_record(FULL)) == FULL


def test_older_clients_find_the_first_result() -> None:
    """ResultDeprecated repeats it; a running build has no result and no end."""
    message = record_message(FULL)

    assert message.Result.ResultDeprecated.digest == "sha256:x"
    assert not record_message(BuildRecord(ref="r", created_at=1)).HasField("CompletedAt")


def test_garbage_is_no_record() -> None:
    """Whoever can write to the bucket can't break the gateway."""
    assert decode_record(b"\xff\xff") is None
