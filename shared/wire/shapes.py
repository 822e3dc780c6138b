"""Dataclass ↔ plain msgpack shapes, compiled once per type.

For each dataclass two functions are generated from its annotations (as `dataclasses` itself generates `__init__`):
`to_plain(value)` gives a map by field name, `from_plain(map)` checks every type and builds the value. Fields may be
`str`, `int`, `float`, `bool`, `bytes`, enums, dataclasses, `Digest`, `tuple[T, ...]`, `tuple[A, B]`, `frozenset[T]`,
`Mapping[str, T]`, `T | None`, and unions of dataclasses (written with their type name under `$`).
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from shared.errors import InvalidInput
from shared.model import Digest, is_digest

Convert = Callable[[Any], Any]

_SCALARS: tuple[type, ...] = (str, int, float, bool, bytes)
_MISSING = object()


def _bad(where: str, want: str, got: object) -> InvalidInput:
    return InvalidInput(f"{where}: want {want}, got {_describe(got)}")


def _describe(value: object) -> str:
    if isinstance(value, str | int | float):
        return repr(value)[:80]
    return type(value).__name__


class Shapes:
    """The compiled converters of a set of dataclasses; nested dataclasses compile on first use."""

    def __init__(self) -> None:
        self._encoders: dict[type, Convert] = {}
        self._decoders: dict[type, Convert] = {}

    def encoder(self, cls: type) -> Convert:
        """`cls` → function from an instance to a plain map. Raises TypeError for a field type the wire doesn't know."""
        if cls not in self._encoders:
            self._encoders[cls] = lambda value: self._encoders[cls](value)  # a type may contain itself
            self._encoders[cls] = self._compile_encoder(cls)
        return self._encoders[cls]

    def decoder(self, cls: type) -> Convert:
        """`cls` → function from a plain map to an instance, which raises InvalidInput (or the type's own ValueError)."""
        if cls not in self._decoders:
            self._decoders[cls] = lambda plain: self._decoders[cls](plain)
            self._decoders[cls] = self._compile_decoder(cls)
        return self._decoders[cls]

    def _compile_encoder(self, cls: type) -> Convert:
        hints = typing.get_type_hints(cls)
        scope: dict[str, Any] = {}
        parts = []
        for i, field in enumerate(dataclasses.fields(cls)):
            convert = self._field_encoder(hints[field.name])
            if convert is not None:
                scope[f"c{i}"] = convert
            value = f"v.{field.name}"
            parts.append(f"{field.name!r}: {value if convert is None else f'c{i}({value})'}")
        source = "def to_plain(v):\n return {" + ", ".join(parts) + "}\n"
        return _compiled(source, scope, "to_plain")

    def _compile_decoder(self, cls: type) -> Convert:
        hints = typing.get_type_hints(cls)
        scope: dict[str, Any] = {"cls": cls, "missing": _MISSING, "bad": _bad}
        lines = ["def from_plain(m):", f" if type(m) is not dict: raise bad({cls.__name__!r}, 'a map', m)", " get = m.get"]
        for i, field in enumerate(dataclasses.fields(cls)):
            lines += self._field_lines(cls, field, i, hints[field.name], scope)
        arguments = ", ".join(f"{field.name}=v{i}" for i, field in enumerate(dataclasses.fields(cls)))
        lines.append(f" return cls({arguments})")
        return _compiled("\n".join(lines) + "\n", scope, "from_plain")

    def _field_lines(self, cls: type, field: "dataclasses.Field[Any]", i: int, hint: Any, scope: dict[str, Any]) -> list[str]:
        where = f"{cls.__name__}.{field.name}"
        scope[f"c{i}"] = self._field_decoder(hint, where)
        if field.default is not dataclasses.MISSING:
            scope[f"d{i}"] = field.default
            absent = f"v{i} = d{i}"
        elif field.default_factory is not dataclasses.MISSING:
            scope[f"d{i}"] = field.default_factory
            absent = f"v{i} = d{i}()"
        else:
            absent = f"raise bad({where!r}, 'a value', None)"
        lines = [f" v{i} = get({field.name!r}, missing)", f" if v{i} is missing: {absent}"]
        if hint in (str, int, bool, bytes):
            scope[f"t{i}"] = hint
            return [*lines, f" elif type(v{i}) is not t{i}: raise bad({where!r}, {hint.__name__!r}, v{i})"]
        return [*lines, f" else: v{i} = c{i}(v{i})"]

    # --- encoders: None stands for "already plain"

    def _field_encoder(self, hint: Any) -> Convert | None:
        origin = typing.get_origin(hint)
        if hint in _SCALARS or hint is Digest or hint is type(None):
            return None
        if origin in (tuple, frozenset):
            return self._sequence_encoder(hint, origin)
        if origin is not None and _is_subclass(origin, Mapping):
            return self._mapping_encoder(hint)
        if origin in (typing.Union, types.UnionType):
            return self._union_encoder(hint)
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return _enum_value
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            return self.encoder(hint)
        raise TypeError(f"the wire has no shape for {hint!r}")

    def _sequence_encoder(self, hint: Any, origin: type) -> Convert:
        args = typing.get_args(hint)
        if origin is frozenset:
            member = self._field_encoder(args[0]) or _plain
            return lambda values: sorted(map(member, values))
        if len(args) == 2 and args[1] is Ellipsis:
            item = self._field_encoder(args[0])
            return list if item is None else lambda values: [item(v) for v in values]
        items = [self._field_encoder(a) for a in args]
        return lambda values: [v if c is None else c(v) for c, v in zip(items, values, strict=True)]

    def _mapping_encoder(self, hint: Any) -> Convert:
        key, value = typing.get_args(hint)
        if key is not str and key is not Digest:
            raise TypeError(f"the wire has maps by str only, not {hint!r}")
        convert = self._field_encoder(value)
        return dict if convert is None else lambda m: {k: convert(v) for k, v in m.items()}

    def _union_encoder(self, hint: Any) -> Convert | None:
        members = [a for a in typing.get_args(hint) if a is not type(None)]
        if len(members) == 1:
            convert = self._field_encoder(members[0])
            return None if convert is None else lambda v: None if v is None else convert(v)
        encoders = {m: self.encoder(_require_dataclass(m)) for m in members}
        return lambda v: None if v is None else {"$": type(v).__name__, **encoders[type(v)](v)}

    # --- decoders

    def _field_decoder(self, hint: Any, where: str) -> Convert:
        origin = typing.get_origin(hint)
        if hint is float:
            return lambda v: v if type(v) is float else float(_exactly(int, v, where))
        if hint in _SCALARS:
            return lambda v: _exactly(hint, v, where)
        if hint is Digest:
            return lambda v: _digest(v, where)
        if origin in (tuple, frozenset):
            return self._sequence_decoder(hint, origin, where)
        if origin is not None and _is_subclass(origin, Mapping):
            return self._mapping_decoder(hint, where)
        if origin in (typing.Union, types.UnionType):
            return self._union_decoder(hint, where)
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return lambda v: _enum_member(hint, v, where)
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            return self.decoder(hint)
        raise TypeError(f"the wire has no shape for {hint!r} ({where})")

    def _sequence_decoder(self, hint: Any, origin: type, where: str) -> Convert:
        args = typing.get_args(hint)
        if origin is frozenset:
            item = self._field_decoder(args[0], where)
            return lambda v: frozenset(item(x) for x in _exactly(list, v, where))
        if len(args) == 2 and args[1] is Ellipsis:
            item = self._field_decoder(args[0], where)
            return lambda v: tuple([item(x) for x in _exactly(list, v, where)])
        items = [self._field_decoder(a, where) for a in args]

        def fixed(v: Any) -> tuple[Any, ...]:
            if len(_exactly(list, v, where)) != len(items):
                raise _bad(where, f"{len(items)} items", v)
            return tuple([c(x) for c, x in zip(items, v, strict=True)])

        return fixed

    def _mapping_decoder(self, hint: Any, where: str) -> Convert:
        value = self._field_decoder(typing.get_args(hint)[1], where)
        return lambda v: {_exactly(str, k, where): value(x) for k, x in _exactly(dict, v, where).items()}

    def _union_decoder(self, hint: Any, where: str) -> Convert:
        args = typing.get_args(hint)
        optional = type(None) in args
        members = [a for a in args if a is not type(None)]
        if len(members) == 1:
            convert = self._field_decoder(members[0], where)
            return lambda v: None if v is None else convert(v)
        decoders = {m.__name__: self.decoder(_require_dataclass(m)) for m in members}

        def tagged(v: Any) -> Any:
            if v is None and optional:
                return None
            name = _exactly(dict, v, where).get("$")
            if type(name) is not str or name not in decoders:
                raise _bad(where, "one of " + ", ".join(decoders), name)
            return decoders[name](v)

        return tagged


def _is_subclass(origin: Any, parent: type) -> bool:
    return isinstance(origin, type) and issubclass(origin, parent)


def _compiled(source: str, scope: dict[str, Any], name: str) -> Convert:
    exec(compile(source, f"<wire {name}>", "exec"), scope)
    result: Convert = scope[name]
    return result


def _require_dataclass(member: Any) -> type:
    if not (dataclasses.is_dataclass(member) and isinstance(member, type)):
        raise TypeError(f"unions on the wire are of dataclasses only, not {member!r}")
    return member


def _exactly(cls: type, value: Any, where: str) -> Any:
    if type(value) is not cls:
        raise _bad(where, cls.__name__, value)
    return value


def _digest(value: Any, where: str) -> Any:
    if type(value) is not str or not (is_digest(value) or value == "" or value.startswith("random:")):
        raise _bad(where, "a digest", value)
    return value


def _plain(value: Any) -> Any:
    return value


def _enum_value(member: Any) -> Any:
    return member.value


def _enum_member(cls: type[enum.Enum], value: Any, where: str) -> Any:
    try:
        return cls(value)
    except ValueError:
        raise _bad(where, f"a {cls.__name__}", value) from None
