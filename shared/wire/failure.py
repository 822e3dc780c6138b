"""Errors as they travel on the bus: one message type, turned to and from shared.errors in one place."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared import errors
from shared.errors import BuildmeshError, Code, Detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A BuildmeshError on the wire. `kind` is the class name; `data` has the extra fields of RefLost (ref_id) and BlobMissing (digest)."""

    kind: str
    code: int
    message: str
    reason: str = ""
    details: tuple[Detail, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)


_KINDS: dict[str, type[BuildmeshError]] = {
    c.__name__: c
    for c in (
        errors.InvalidInput,
        errors.BuildFailed,
        errors.NotFound,
        errors.AlreadyExists,
        errors.Denied,
        errors.Unsupported,
        errors.Unavailable,
        errors.Exhausted,
        errors.SessionGone,
        errors.CallLost,
        errors.Internal,
        errors.Canceled,
    )
}

_SURROGATE = re.compile("[\ud800-\udfff]")


def to_failure(error: BaseException) -> Failure:
    """Any exception; what is not in our tree becomes Internal with its class and text. Bytes that are no UTF-8 become U+FFFD."""
    if not isinstance(error, BuildmeshError):
        text = _sendable(f"{type(error).__name__}: {error}")
        return Failure(kind="Internal", code=Code.INTERNAL, message=text, reason="Unexpected")
    data: dict[str, str] = {}
    if isinstance(error, errors.RefLost):
        data["ref_id"] = error.ref_id
    if isinstance(error, errors.BlobMissing):
        data["digest"] = error.digest
    return Failure(
        kind=type(error).__name__,
        code=int(error.status_code),
        message=_sendable(error.message),
        reason=error.reason,
        details=error.details,
        data=data,
    )


def _sendable(text: str) -> str:
    """Without the surrogates by which Python keeps the bytes of odd file names and Dockerfiles."""
    return _SURROGATE.sub("\ufffd", text)


def from_failure(failure: Failure) -> BuildmeshError:
    """The exception that `to_failure` was given, as near as the tree allows; an unknown kind becomes BuildmeshError."""
    if failure.kind == "RefLost":
        return errors.RefLost(failure.data.get("ref_id", ""), failure.message, details=failure.details, reason=failure.reason)
    if failure.kind == "BlobMissing":
        return errors.BlobMissing(failure.data.get("digest", ""), failure.message, details=failure.details, reason=failure.reason)
    code = Code(failure.code) if failure.code in Code._value2member_map_ else Code.UNKNOWN
    kind = _KINDS.get(failure.kind, BuildmeshError)
    return kind(failure.message, details=failure.details, reason=failure.reason, code=code)
