"""Messages ↔ bytes: msgpack maps by field name, inside a versioned envelope.

The envelope is a map of short keys: `t` type, `v` version, `k` idempotency key, `c` trace context (shared.telemetry:
a W3C traceparent and the build's ref), `f` call frame (shared.bus.calls), `b` body, `d` digest of a body that was left in the blob
store (claim check).
Readers ignore unknown fields, refuse unknown types, versions, enum values and values of another type: whoever can
publish on the bus is as untrusted as a client. A type's version (`VERSION: ClassVar[int]`, 1 when not given) is raised
only when older readers must not understand it; new fields with defaults don't need that.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgpack

from shared.errors import InvalidInput
from shared.model import Digest, is_digest
from shared.wire.messages import MESSAGES
from shared.wire.shapes import Shapes

NO_CLAIM = Digest("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What travels. Exactly one of `body` (a message, or None for a bare frame) and `claim` is meant; `claim` is "" normally."""

    body: Any = None
    key: str = ""
    trace: str = ""
    frame: str = ""
    claim: Digest = NO_CLAIM


class Codec:
    """Knows a closed set of message types by their class names; all of shared.wire.messages when not told otherwise."""

    def __init__(self, types: Iterable[type] = MESSAGES) -> None:
        self._shapes = Shapes()
        self._types: dict[str, type] = {}
        self._versions: dict[type, int] = {}
        self._packer = msgpack.Packer(autoreset=True)
        for cls in types:
            self.register(cls)

    def register(self, cls: type) -> None:
        """Admit one more type; its converters are compiled on first use. Raises ValueError when the name is taken."""
        if self._types.setdefault(cls.__name__, cls) is not cls:
            raise ValueError(f"two message types are called {cls.__name__}")
        self._versions[cls] = getattr(cls, "VERSION", 1)

    def types(self) -> tuple[type, ...]:
        """All admitted types, sorted by name."""
        return tuple(self._types[name] for name in sorted(self._types))

    def encode(self, body: Any, *, key: str = "", trace: str = "", frame: str = "") -> bytes:
        """The message (None for a bare frame) as bytes. Raises TypeError for a type that was not admitted."""
        plain: dict[str, Any] = {}
        if body is not None:
            cls = type(body)
            if cls not in self._versions:
                raise TypeError(f"{cls.__name__} is no message type")
            plain["t"] = cls.__name__
            plain["v"] = self._versions[cls]
            plain["b"] = self._shapes.encoder(cls)(body)
        return self._pack(plain, key, trace, frame)

    def encode_claim(self, claim: Digest, *, key: str = "", trace: str = "", frame: str = "") -> bytes:
        """An envelope whose whole content (itself an envelope) lies in the blob store under this digest."""
        return self._pack({"d": claim}, key, trace, frame)

    def _pack(self, plain: dict[str, Any], key: str, trace: str, frame: str) -> bytes:
        if key:
            plain["k"] = key
        if trace:
            plain["c"] = trace
        if frame:
            plain["f"] = frame
        packed: bytes = self._packer.pack(plain)
        return packed

    def decode(self, data: bytes) -> Envelope:
        """Raises InvalidInput, naming the type and the field, for whatever is not a well-formed message of a known type."""
        try:
            plain = msgpack.unpackb(data)
        except Exception as error:  # msgpack raises half a dozen unrelated classes for bad bytes
            raise InvalidInput(f"a bus message is no msgpack: {type(error).__name__}: {error}") from None
        if type(plain) is not dict:
            raise InvalidInput(f"a bus message is no envelope but {type(plain).__name__}")
        claim = _text(plain, "d")
        if claim and not is_digest(claim):
            raise InvalidInput(f"a bus message claims an invalid digest: {claim[:100]!r}")
        return Envelope(
            body=self._body(plain), key=_text(plain, "k"), trace=_text(plain, "c"), frame=_text(plain, "f"), claim=Digest(claim)
        )

    def _body(self, plain: dict[Any, Any]) -> Any:
        if "t" not in plain:
            return None
        name = _text(plain, "t")
        cls = self._types.get(name)
        if cls is None:
            raise InvalidInput(f"unknown message type {name[:100]!r}")
        if plain.get("v") != self._versions[cls]:
            raise InvalidInput(f"message {name} has version {plain.get('v')!r}, this reader knows {self._versions[cls]}")
        try:
            return self._shapes.decoder(cls)(plain.get("b"))
        except (ValueError, TypeError) as error:  # a value type's own check in __post_init__
            raise InvalidInput(f"message {name}: {error}") from None


def _text(plain: dict[Any, Any], key: str) -> str:
    value = plain.get(key, "")
    if type(value) is not str:
        raise InvalidInput(f"envelope field {key!r} is not text")
    return value
