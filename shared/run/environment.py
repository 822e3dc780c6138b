"""Settings from the environment: `BUILDMESH_<TABLE>__<KEY>[__<KEY>]…`, laid over the tables of the TOML file.

`BUILDMESH_MESH__LOG_FORMAT=json` is `log_format = "json"` in `[mesh]`. With `_FILE` behind it the value is what stands in that file, for
passwords (as the images of databases do). The text of a number, boolean or list is written as in TOML, a list of strings also
plainly with commas. The environment wins over the file.
"""

import dataclasses
import enum
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from shared.errors import InvalidInput
from shared.run.settings import bare, field_of, key_of

__all__ = ["overlaid"]

PREFIX: Final = "BUILDMESH_"
FROM_FILE: Final = "_FILE"


def overlaid(tables: Mapping[str, Any], environment: Mapping[str, str], types_of: Mapping[str, type]) -> dict[str, Any]:
    """`tables` with what the environment says; `types_of` has the dataclass of each table that this process reads, others are left alone.

    Errors: InvalidInput naming the variable, never its value.
    """
    out = dict(tables)
    for variable, path, text in _mine(environment, types_of):
        table, *keys = path
        out[table] = _with(out.get(table, {}), types_of[table], keys, text, variable)
    return out


def _mine(environment: Mapping[str, str], types_of: Mapping[str, type]) -> Iterator[tuple[str, list[str], str]]:
    for variable in sorted(environment):
        table, separator, rest = variable.removeprefix(PREFIX).partition("__")
        if variable.startswith(PREFIX) and separator and table.lower() in types_of:
            yield variable, [table.lower(), *rest.lower().split("__")], environment[variable]


def _with(table: Any, cls: type, keys: list[str], text: str, variable: str) -> dict[str, Any]:
    """`table` with one more value; whatever way the file spelled that key, it is replaced."""
    if not isinstance(table, Mapping):
        raise InvalidInput(f"{variable}: what the configuration file says there is no table")
    key, *deeper = keys
    field, text = _field(cls, key, text, variable, last=not deeper)
    hint = typing.get_type_hints(cls)[field.name]
    name = key_of(field)
    inner: Any = next((value for other, value in table.items() if bare(other) == bare(name)), {})
    rest = {other: value for other, value in table.items() if bare(other) != bare(name)}
    if deeper and not dataclasses.is_dataclass(hint):
        raise InvalidInput(f"{variable}: {key} has no keys of its own")
    value = _with(inner, typing.cast(type, hint), deeper, text, variable) if deeper else _parsed(hint, text, variable)
    return {**rest, name: value}


def _field(cls: type, key: str, text: str, variable: str, *, last: bool) -> tuple["dataclasses.Field[Any]", str]:
    field = field_of(cls, key)
    if field is None and last and key.endswith(FROM_FILE.lower()):
        field, text = field_of(cls, key.removesuffix(FROM_FILE.lower())), _content(text, variable)
    if field is None:
        raise InvalidInput(f"{variable}: there is no such setting")
    return field, text


def _content(path: str, variable: str) -> str:
    try:
        return Path(path).read_text().rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{variable}: can't read {path}: {error}") from None


def _parsed(hint: Any, text: str, variable: str) -> Any:
    """The value as TOML has it: text for strings, paths and enums, else what the text means."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(member for member in typing.get_args(hint) if member is not type(None))
    if isinstance(hint, type) and issubclass(hint, (str, Path, enum.Enum)):
        return text
    if typing.get_origin(hint) in (tuple, frozenset) and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        raise InvalidInput(f"{variable}: its text is no value of TOML") from None
