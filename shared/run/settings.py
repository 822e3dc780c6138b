"""TOML files → frozen dataclasses. A key that no field has is an error, with the nearest name as a hint."""

import dataclasses
import enum
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from shared.errors import InvalidInput

T = TypeVar("T")


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables. Raises InvalidInput naming the file (and line, when it doesn't parse)."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise InvalidInput(f"can't read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {error}") from None


def build(cls: type[T], table: Mapping[str, Any], *, where: str = "") -> T:
    """`cls` from a TOML table. Case, dashes and underscores in keys don't matter. Raises InvalidInput naming the key by its full path.

    A field's key is shown in hints as its metadata `toml` says, else by its name.
    """
    fields = _fields(cls)
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in table.items():
        path = f"{where}.{key}" if where else key
        field = fields.get(bare(key))
        if field is None:
            raise unknown_key(path, key, [key_of(f) for f in fields.values()])
        values[field.name] = convert(hints[field.name], value, path)
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{where or 'configuration'}: {error}") from None


def field_of(cls: type, key: str) -> "dataclasses.Field[Any] | None":
    """The field that a key means, however it is spelled."""
    return _fields(cls).get(bare(key))


def _fields(cls: type) -> "dict[str, dataclasses.Field[Any]]":
    return {bare(key_of(f)): f for f in dataclasses.fields(typing.cast(Any, cls))}


def key_of(field: "dataclasses.Field[Any]") -> str:
    """How a field is spelled in files."""
    return str(field.metadata.get("toml", field.name))


def bare(key: str) -> str:
    """A key without what may be spelled in several ways: case, dashes, underscores."""
    return key.lower().replace("-", "").replace("_", "")


def unknown_key(path: str, key: str, known: typing.Iterable[str]) -> InvalidInput:
    """The error for a key that nobody knows, with a hint."""
    import difflib  # only here: most configurations have no such key

    known = sorted(known)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else "known here: " + ", ".join(known)
    return InvalidInput(f"unknown key {path!r} in the configuration: {hint}")


def convert(hint: Any, value: Any, path: str) -> Any:
    """`value` as the field's type; raises InvalidInput naming `path`."""
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        members = [a for a in typing.get_args(hint) if a is not type(None)]
        return convert(members[0], value, path)
    if origin is tuple:
        return tuple(convert(typing.get_args(hint)[0], v, f"{path}[{i}]") for i, v in enumerate(_typed(list, value, path)))
    if origin is frozenset:
        return frozenset(convert(typing.get_args(hint)[0], v, f"{path}[{i}]") for i, v in enumerate(_typed(list, value, path)))
    if origin is not None and issubclass(origin, Mapping):
        item = typing.get_args(hint)[1]
        return {k: convert(item, v, f"{path}.{k}") for k, v in _typed(dict, value, path).items()}
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), _typed(dict, value, path), where=path)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _member(hint, value, path)
    if hint is Path:
        return Path(_typed(str, value, path))
    if hint is float and type(value) is int:
        return float(value)
    return _typed(hint, value, path) if isinstance(hint, type) else value


def _typed(cls: type, value: Any, path: str) -> Any:
    if type(value) is not cls:
        raise InvalidInput(f"{path!r} in the configuration: want {cls.__name__}, got {value!r}")
    return value


def _member(cls: type[enum.Enum], value: Any, path: str) -> Any:
    for member in cls:
        if value in (member.value, member.name.lower()):
            return member
    raise InvalidInput(f"{path!r} in the configuration: {value!r} is none of " + ", ".join(str(m.value) for m in cls))
