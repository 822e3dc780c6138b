"""The claim check: what is too large for the bus goes through the blob store, and comes back only as itself."""

import pytest

from shared.bus.frames import RESULT, Untraced, Wrapper
from shared.errors import BlobMissing, InvalidInput
from shared.model import Digest, sha256_digest
from shared.wire.codec import Codec
from shared.wire.messages import Done, FileData

CODEC = Codec()


class Claims:
    """Blobs in a dict."""

    def __init__(self) -> None:
        self.left: dict[Digest, bytes] = {}

    async def leave(self, data: bytes) -> Digest:
        digest = sha256_digest(data)
        self.left[digest] = data
        return digest

    async def fetch(self, digest: Digest) -> bytes:
        try:
            return self.left[digest]
        except KeyError:
            raise BlobMissing(digest) from None


async def test_small_messages_travel_as_they_are() -> None:
    wrapper = Wrapper(CODEC, claims := Claims(), 1000)
    envelope = wrapper.open(await wrapper.wrap(FileData(data=b"x"), key="k", frame=RESULT, trace="t"))

    assert (envelope.body, envelope.key, envelope.frame, envelope.trace) == (FileData(data=b"x"), "k", RESULT, "t")
    assert await wrapper.redeem(envelope) is envelope and claims.left == {}


async def test_large_messages_leave_a_claim() -> None:
    wrapper, body = Wrapper(CODEC, Claims(), 100), FileData(data=bytes(1000))
    data = await wrapper.wrap(body, key="k", frame=RESULT)
    assert len(data) < 200
    envelope = wrapper.open(data)
    assert (envelope.body, envelope.key, envelope.frame) == (None, "k", RESULT)

    assert (await wrapper.redeem(envelope)).body == body


@pytest.mark.parametrize(("claims", "limit"), [(None, 10), (Claims(), 0)], ids=["no store", "no limit"])
async def test_without_a_store_or_a_limit_everything_travels(claims: Claims | None, limit: int) -> None:
    wrapper, body = Wrapper(CODEC, claims, limit), FileData(data=bytes(1000))

    assert wrapper.open(await wrapper.wrap(body, key="k")).body == body


async def test_a_claim_for_another_call_is_refused() -> None:
    """Whoever can publish could point at any blob."""
    wrapper = Wrapper(CODEC, claims := Claims(), 10)
    for inner in (CODEC.encode(Done(), key="other"), CODEC.encode_claim(sha256_digest(b""), key="k")):
        digest = await claims.leave(inner)
        with pytest.raises(InvalidInput, match="another message"):
            await wrapper.redeem(wrapper.open(CODEC.encode_claim(digest, key="k")))


async def test_claims_that_lead_nowhere() -> None:
    claim = CODEC.encode_claim(sha256_digest(b"gone"), key="k")
    with pytest.raises(BlobMissing):
        await Wrapper(CODEC, Claims(), 10).redeem(CODEC.decode(claim))
    with pytest.raises(InvalidInput, match="no blob store"):
        await Wrapper(CODEC, None, 10).redeem(CODEC.decode(claim))


def test_a_bare_frame_has_no_body() -> None:
    envelope = CODEC.decode(Wrapper(CODEC, None, 0).bare("heartbeat", "k"))

    assert (envelope.body, envelope.frame, envelope.key) == (None, "heartbeat", "k")


def test_no_tracing_is_tracing_too() -> None:
    with Untraced().span("x", ""):
        assert Untraced().current() == ""
