"""What caller and server of a call agree on: frame names, time-outs, claim check, and the seams to tracing and blobs."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from shared.errors import InvalidInput
from shared.model import Digest
from shared.wire.codec import Codec, Envelope

ACCEPTED = "accepted"  # somebody has it
HEARTBEAT = "heartbeat"  # still running
PROGRESS = "progress"  # a batch
RESULT = "result"  # the end
FAILURE = "failure"  # the end
RETURNED = "returned"  # work went back to its queue (the server drains); somebody else will accept it
CANCEL = "cancel"  # broadcast on calls.cancel by the caller

REPLY = "reply"  # header of queued work: the caller's inbox
SENDS = "sends"  # header of queued work: how often the caller has queued it

# Tokens below an inbox. A frame comes to <inbox>.<call id>.<server>; <server> is the last token of the server's own inbox.
ALIVE = "alive"  # <inbox>.alive.<call id>: does this server still work on the call?
GONE = "gone"  # <inbox>.<call id>.gone: where the bus says that nobody heard the question
ORPHAN = "orphan"  # <inbox>.orphan.<call id>: where the bus says that nobody heard a heartbeat


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """Seconds, but for `limit` (bytes of an encoded message above which it goes through the blob store; 0 = never)."""

    tick: float = 0.25
    accept_after: float = 0.1  # a call that takes longer is confirmed
    heartbeat: float = 1.0
    silence: float = 5.0  # without any frame the call is lost
    doubt: float = 1.4  # a missed heartbeat: ask the bus whether that server is still connected
    gone: float = 1.0  # it has not been for so long: the call is lost at once
    orphan: float = 30.0  # the caller has not been connected for so long: nobody wants the answer
    resend: float = 1.0  # an unconfirmed request is sent again, at doubling intervals
    nobody: float = 0.02  # nobody listens: ask again after so long; sooner at first, since a listener may be on its way
    accept_within: float = 30.0
    forgotten: float = 3.0  # queued work that a dead server had and nobody has taken since is queued again
    requeue: float = 45.0  # queued work that is neither waiting nor accepted for so long is queued again
    limit: int = 64 * 1024
    running: int = 4096  # calls that one server works on at a time


class Tracing(Protocol):
    """The seam to shared.telemetry (floors beside each other don't import each other)."""

    def current(self) -> str:
        """The traceparent to send along, "" for none."""
        ...

    def span(self, name: str, parent: str) -> AbstractContextManager[object]:
        """Run the body as a child of `parent`."""
        ...


class Claims(Protocol):
    """The seam to shared.blobs: payloads over the limit."""

    async def leave(self, data: bytes) -> Digest: ...

    async def fetch(self, digest: Digest) -> bytes: ...


class Untraced:
    """Tracing for those who don't want any."""

    def current(self) -> str:
        return ""

    @contextmanager
    def span(self, name: str, parent: str) -> Iterator[None]:
        yield


class Wrapper:
    """Encodes with claim check, and opens what was claimed."""

    def __init__(self, codec: Codec, claims: Claims | None, limit: int) -> None:
        self._codec, self._claims, self._limit = codec, claims, limit if claims is not None else 0

    async def wrap(self, body: Any, *, key: str, frame: str = "", trace: str = "") -> bytes:
        """The bytes to publish."""
        data = self._codec.encode(body, key=key, frame=frame, trace=trace)
        if self._claims is None or not self._limit or len(data) <= self._limit:
            return data
        claim = await self._claims.leave(data)
        return self._codec.encode_claim(claim, key=key, frame=frame, trace=trace)

    def bare(self, frame: str, key: str) -> bytes:
        """A frame without a message."""
        return self._codec.encode(None, key=key, frame=frame)

    def open(self, data: bytes) -> Envelope:
        """Raises InvalidInput. The body of a claim still has to be fetched by `redeem`."""
        return self._codec.decode(data)

    async def redeem(self, envelope: Envelope) -> Envelope:
        """The envelope itself, or the claimed one, which must not claim again. Raises BlobMissing, InvalidInput."""
        if not envelope.claim:
            return envelope
        if self._claims is None:
            raise InvalidInput("a claim, but no blob store to fetch it from")
        inner = self._codec.decode(await self._claims.fetch(envelope.claim))
        if inner.claim or inner.key != envelope.key:
            raise InvalidInput("a claim leads to another message")
        return inner
