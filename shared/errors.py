"""The one tree of errors. Never parse text: look at the class, `reason`, `code`, `retryable` or the details.

    BuildmeshError
    ├── UserError            the request is wrong; repeating it does not help
    │   ├── InvalidInput       INVALID_ARGUMENT
    │   ├── BuildFailed        UNKNOWN: a step, a Dockerfile or a frontend failed (clients print the bare message for UNKNOWN)
    │   ├── NotFound           NOT_FOUND
    │   ├── AlreadyExists      ALREADY_EXISTS
    │   ├── Denied             PERMISSION_DENIED
    │   └── Unsupported        UNIMPLEMENTED
    ├── WorldError           something outside (registry, client session, network, disk) failed
    │   ├── Unavailable        UNAVAILABLE, retryable
    │   ├── Exhausted          RESOURCE_EXHAUSTED
    │   └── SessionGone        UNAVAILABLE: the client's session ended or never came
    ├── MeshError            a part of the mesh failed; the caller mends it
    │   ├── CallLost           no heartbeat from the service that accepted a call; retryable
    │   ├── RefLost            a snapshot can't be had any more; recompute its vertex
    │   ├── BlobMissing        a blob is not (or no longer, or not intact) in the store
    │   ├── BusOverrun         a subscriber fell too far behind; subscribe again
    │   └── Internal           INTERNAL: our fault
    └── Canceled             CANCELED: whoever asked no longer wants it

Details are what travels as google.protobuf.Any with JSON inside (BuildKit util/grpcerrors); the typed makers stand in
`shared.errors` too, so that every service attaches the same bytes. A broken invariant is an AssertionError, not in this tree.
"""

import base64
import json
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from types import FrameType
from typing import Any, ClassVar

from shared.model import Layer, Ref, SourceInfo, SourceRange


class Code(IntEnum):
    """gRPC status codes (grpc/status codes.md)."""

    OK = 0
    CANCELED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """One typed detail: `type_url` as on the wire (`github.com/moby/buildkit/errdefs.Vertex+json`), `value` = JSON text."""

    type_url: str
    value: bytes

    def json(self) -> Any:
        """The decoded value, or None when it is not JSON."""
        try:
            return json.loads(self.value)
        except ValueError:
            return None


class BuildmeshError(Exception):
    """Root of the tree. `message` is for people; data is in the other fields. Details keep the order in which they were wrapped."""

    code: ClassVar[Code] = Code.UNKNOWN
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, details: Iterable[Detail] = (), reason: str = "", code: Code | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: tuple[Detail, ...] = tuple(details)
        self.reason = reason or type(self).__name__
        self.status_code = type(self).code if code is None else code

    def with_details(self, *details: Detail) -> "BuildmeshError":
        """Self, with these details appended unless the very same is there already."""
        self.details += tuple(d for d in details if d not in self.details)
        return self

    def prefixed(self, prefix: str) -> "BuildmeshError":
        """Self, with `prefix: ` before the message."""
        self.message = f"{prefix}: {self.message}"
        self.args = (self.message,)
        return self

    def detail(self, suffix: str) -> Detail | None:
        """The first detail whose type url ends with `suffix` (such as `errdefs.Vertex+json`)."""
        return next((d for d in self.details if d.type_url.endswith(suffix)), None)


class UserError(BuildmeshError):
    """The request is wrong."""


class InvalidInput(UserError):
    """A value that can't be used; the message names it."""

    code = Code.INVALID_ARGUMENT


class BuildFailed(UserError):
    """A step, Dockerfile or frontend failed in the ordinary way."""


class NotFound(UserError):
    """The named thing does not exist."""

    code = Code.NOT_FOUND


class AlreadyExists(UserError):
    """The named thing exists already."""

    code = Code.ALREADY_EXISTS


class Denied(UserError):
    """Not allowed by entitlements, policy or credentials."""

    code = Code.PERMISSION_DENIED


class Unsupported(UserError):
    """A feature that this server does not have; the message names it."""

    code = Code.UNIMPLEMENTED


class WorldError(BuildmeshError):
    """Something outside of the mesh failed."""


class Unavailable(WorldError):
    """A peer did not answer properly; trying again may help."""

    code = Code.UNAVAILABLE
    retryable = True


class Exhausted(WorldError):
    """Disk, memory or a quota is used up."""

    code = Code.RESOURCE_EXHAUSTED


class SessionGone(WorldError):
    """The client session ended, or did not appear in time."""

    code = Code.UNAVAILABLE


class MeshError(BuildmeshError):
    """A part of the mesh failed; callers mend it, users rarely see it."""

    code = Code.INTERNAL


class CallLost(MeshError):
    """The service that accepted a call fell silent, or nobody accepted it in time."""

    code = Code.UNAVAILABLE
    retryable = True


class RefLost(MeshError):
    """The snapshot `ref_id` can't be had any more."""

    retryable = True

    def __init__(self, ref_id: str, message: str = "", **kwargs: Any) -> None:
        super().__init__(message or f"snapshot {ref_id} is not available any more", **kwargs)
        self.ref_id = ref_id


class BlobMissing(MeshError):
    """The blob `digest` is absent or failed verification."""

    code = Code.NOT_FOUND

    def __init__(self, digest: str, message: str = "", **kwargs: Any) -> None:
        super().__init__(message or f"blob {digest} not found", **kwargs)
        self.digest = digest


class BusOverrun(MeshError):
    """A subscriber fell behind by more than its limit and was ended."""

    code = Code.RESOURCE_EXHAUSTED
    retryable = True


class Internal(MeshError):
    """Our fault."""


class Canceled(BuildmeshError):
    """Whoever asked no longer wants the answer."""

    code = Code.CANCELED


_ERRDEFS = "github.com/moby/buildkit/errdefs."


def _detail(kind: str, value: Mapping[str, Any]) -> Detail:
    return Detail(type_url=_ERRDEFS + kind + "+json", value=json.dumps(value, separators=(",", ":")).encode())


def vertex_detail(digest: str) -> Detail:
    """Connects an error with a step (solver/errdefs/vertex.go)."""
    return _detail("Vertex", {"digest": digest})


def source_detail(info: SourceInfo, ranges: Iterable[SourceRange], definition: Mapping[str, Any] | None = None) -> Detail:
    """From this the client prints the excerpt (errdefs/source.go). `definition`: how the text was loaded, in Go's JSON."""
    value: dict[str, Any] = {"info": {"filename": info.filename, "data": base64.b64encode(info.data).decode()}}
    if definition is not None:
        value["info"]["definition"] = definition
    if info.language:
        value["info"]["language"] = info.language
    value["ranges"] = [
        {
            "start": {"line": r.start.line, "character": r.start.character},
            "end": {"line": r.end.line, "character": r.end.character},
        }
        for r in ranges
    ]
    return _detail("Source", value)


def solve_detail(value: Mapping[str, Any]) -> Detail:
    """protojson of errdefs.Solve: inputIDs, mountIDs, op, file|cache, description (solver/errdefs/solve.go)."""
    return _detail("Solve", value)


LEFT = "buildmesh/Left+json"
"""What a failed step left behind; for the solver only, which gives clients names for it (`solve_detail`)."""


def left_detail(inputs: Iterable[Ref | None], mounts: Iterable[Ref | None], subject: Mapping[str, Any] | None = None) -> Detail:
    """`inputs` and `mounts` (the trees as they are now) by index of mount or action; `subject`: file or cache of errdefs.Solve."""
    refs = {name: [None if ref is None else asdict(ref) for ref in found] for name, found in (("inputs", inputs), ("mounts", mounts))}
    return Detail(type_url=LEFT, value=json.dumps({**refs, "subject": dict(subject or {})}).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What `left_detail` tells."""

    inputs: tuple[Ref | None, ...]
    mounts: tuple[Ref | None, ...]
    subject: Mapping[str, Any]


def read_left(detail: Detail) -> Left | None:
    """None when it can't be read: it came over the bus."""
    try:
        value = json.loads(detail.value)
        inputs, mounts = (tuple(map(_read_ref, value[name])) for name in ("inputs", "mounts"))
        return Left(inputs=inputs, mounts=mounts, subject=dict(value["subject"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _read_ref(value: Any) -> Ref | None:
    if value is None:
        return None
    layers = tuple(Layer(**{**layer, "urls": tuple(layer["urls"])}) for layer in value["layers"])
    return Ref(**{**value, "layers": layers})


def incomplete_materials_detail(found: Iterable[tuple[str, str]]) -> Detail:
    """Materials that provenance can't name: (name, reason)."""
    return _detail("ProvenanceMaterialsIncomplete", {"incomplete": [{"name": n, "reason": r} for n, r in found]})


def frontend_cap_detail(name: str) -> Detail:
    """The frontend lacks capability `name`."""
    return _detail("FrontendCap", {"name": name})


def subrequest_detail(name: str) -> Detail:
    """The frontend doesn't know subrequest `name`."""
    return _detail("Subrequest", {"name": name})


def frontend_detail(name: str, source: str) -> Detail:
    """The frontend `name` (image `source`) failed."""
    return _detail("Frontend", {"name": name, "source": source})


def stack_detail(error: BaseException, *, cmdline: Iterable[str] = (), pid: int = 0, version: str = "") -> Detail:
    """Where the error was raised, innermost frame first (util/stack/stack.proto); clients print it when they debug.

    File names are given from the top-level package on: where a server is installed is nobody's business.
    """
    frames = [
        {"Name": f"{_module(frame)}.{frame.f_code.co_qualname}", "File": f"{_module(frame).replace('.', '/')}.py", "Line": line}
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    value = {"frames": frames[::-1], "cmdline": list(cmdline), "pid": pid, "version": version}
    return Detail(type_url="github.com/moby/buildkit/stack.Stack+json", value=json.dumps(value, separators=(",", ":")).encode())


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))


def compatibility_detail(version: int, feature: str) -> Detail:
    """`feature` is not in compatibility version `version`."""
    return _detail("CompatibilityFeature", {"version": version, "feature": feature})


def first_failure(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of ours in a TaskGroup's failure, as itself: siblings were cancelled because of it. Without one, the first of all.

    For `except BaseExceptionGroup`: what is raised in `except*` ends up in a group again.
    """
    inner = (group.subgroup(BuildmeshError) or group).exceptions[0]
    return first_failure(inner) if isinstance(inner, BaseExceptionGroup) else inner
