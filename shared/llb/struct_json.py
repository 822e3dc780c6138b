"""Ops and source maps as Go's encoding/json writes the generated structs, in numbered steps: what provenance holds of a build.

Source: solver/pb/json.go, solver/llbsolver/provenance/buildconfig.go.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.message import DecodeError, Message

from shared.errors import InvalidInput
from shared.llb.codec import op_digest
from shared.pb import ops_pb2 as pb

Json = dict[str, Any]

_UNIONS = {
    "pb.Op": ("Op", ("exec", "source", "file", "build", "merge", "diff", "passthrough"), ()),
    "pb.FileAction": ("Action", ("copy", "mkfile", "mkdir", "rm"), ("input", "secondaryInput", "output")),
    "pb.UserOpt": ("User", ("byName", "byID"), ()),
}
"""Messages with a union: the object that holds it, its members, and the fields that are written even when they are 0."""

_SESSION_ATTRS = ("local.session", "local.unique")
_FULL_URL = "git.fullurl"
_WITH_URLS = ("git://", "http://", "https://")

Redact = Callable[[str], str]
"""A URL → the URL without credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The ops of a definition, inputs first. `index` tells the number of an op by its digest."""

    steps: tuple[Json, ...] = ()
    index: Mapping[str, int] = None  # type: ignore[assignment]

    @property
    def names(self) -> dict[str, str]:
        """`digest → step3`, sorted by digest."""
        return {digest: f"step{number}" for digest, number in sorted((self.index or {}).items())}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSteps:
    """A definition as provenance shows it; `source` is None when the definition has no source map."""

    build: Steps
    source: Json | None = None


def build_steps(raw: bytes, redact: Redact = str) -> BuildSteps:
    """`raw` = marshaled pb.Definition; URLs of sources are shown as `redact` leaves them. Raises InvalidInput for what can't be read."""
    try:
        definition = pb.Definition.FromString(raw)
    except DecodeError as error:
        raise InvalidInput(f"invalid definition: {error}") from None
    build = _steps(definition, redact)
    return BuildSteps(build=build, source=_source(definition.Source, build, redact) if definition.Source.infos else None)


def _source(source: Any, build: Steps, redact: Redact) -> Json:
    infos = []
    for info in source.infos:
        below = _steps(info.definition, redact)
        infos.append(
            _kept(
                filename=info.filename,
                language=info.language,
                data=base64.b64encode(info.data).decode(),
                llbDefinition=list(below.steps),
                digestMapping=below.names,
            )
        )
    known = {digest: number for digest, number in build.index.items() if digest in source.locations}
    locations = {f"step{number}": struct_json(source.locations[digest]) for digest, number in known.items()}
    return _kept(locations=dict(sorted(locations.items())), infos=infos)


def _steps(definition: Any, redact: Redact) -> Steps:
    raw_ops = list(getattr(definition, "def"))
    if not raw_ops:
        return Steps(index={})
    try:
        ops: dict[str, Any] = {op_digest(data): pb.Op.FromString(data) for data in raw_ops}
    except DecodeError as error:
        raise InvalidInput(f"failed to parse llb proto op: {error}") from None
    index = _ordered(ops, op_digest(raw_ops[-1]))
    return Steps(steps=tuple(_step(ops[digest], number, index, redact) for digest, number in index.items()), index=index)


def _ordered(ops: Mapping[str, Any], last: str) -> dict[str, int]:
    """Numbers of all ops that `last` needs, itself included: inputs first, in the order in which they are named."""
    index: dict[str, int] = {}
    stack, seen = [(last, False)], {last}
    while stack:
        digest, done = stack.pop()
        if done:
            index[digest] = len(index)
            continue
        stack.append((digest, True))
        for below in reversed(ops[digest].inputs):
            if below.digest not in ops:
                raise InvalidInput(f"failed to find input {below.digest[:100]}")
        stack += [(b.digest, False) for b in reversed(ops[digest].inputs) if not (b.digest in seen or seen.add(b.digest))]  # type: ignore[func-returns-value]
    return index


def _step(op: Any, number: int, index: Mapping[str, int], redact: Redact) -> Json:
    inputs = [f"step{index[i.digest]}:{i.index}" for i in op.inputs]
    shown = pb.Op()
    shown.CopyFrom(op)
    del shown.inputs[:]
    if shown.WhichOneof("op") == "source":
        for key in _SESSION_ATTRS:
            shown.source.attrs.pop(key, None)
        if shown.source.identifier.startswith(_WITH_URLS):
            shown.source.identifier = redact(shown.source.identifier)
        if _FULL_URL in shown.source.attrs:
            shown.source.attrs[_FULL_URL] = redact(shown.source.attrs[_FULL_URL])
    return {"id": f"step{number}", "op": struct_json(shown), **_kept(inputs=inputs)}


def struct_json(message: Message) -> Json:
    """The fields that are set, in their order; bytes as base64, enums as numbers, maps sorted."""
    shape = _shape(message.DESCRIPTOR)
    found = {field.name: _value(value, field) for field, value in message.ListFields()}
    for name in shape.always:
        found.setdefault(name, 0)
    ordered = {name: found[name] for name in sorted(found, key=shape.order.__getitem__)}
    if not shape.union:
        return ordered
    held = {name: ordered.pop(name) for name in shape.members if name in ordered}
    if shape.union == "Op":
        after: Json = {key: ordered.pop(key) for key in ("platform", "constraints") if key in ordered}
        return {**ordered, "Op": held, **after}
    return {**ordered, shape.union: held}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """What is known of a message: its fields in the order of their declaration, and its union (_UNIONS)."""

    order: Mapping[str, int]
    union: str
    members: tuple[str, ...]
    always: tuple[str, ...]


@cache
def _shape(descriptor: Any) -> _Shape:
    union, members, always = _UNIONS.get(descriptor.full_name, ("", (), ()))
    order = {field.name: position for position, field in enumerate(descriptor.fields)}
    return _Shape(order=order, union=union, members=members, always=always)


def _value(value: Any, field: Any) -> Any:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        of = kind.fields_by_name["value"]
        return {key: _plain(value[key], of) for key in sorted(value)}
    return [_plain(item, field) for item in value] if field.is_repeated else _plain(value, field)


def _plain(value: Any, field: Any) -> Any:
    if field.message_type is not None:
        return struct_json(value)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _kept(**fields: Any) -> Json:
    return {key: value for key, value in fields.items() if value}
