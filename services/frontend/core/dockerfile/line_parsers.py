"""How each keyword cuts the rest of its line into arguments (parser/line_parsers.go, split_command.go)."""

import json
import re
from collections.abc import Callable
from typing import NamedTuple

from services.frontend.core.failure import DockerfileError
from services.frontend.core.go_text import SPACE, runes
from shared.llb.go_text import quote

_BLANKS = re.compile(r"[\t\v\f\r ]+")
_SPACE = frozenset(SPACE)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Cut(NamedTuple):
    """Arguments, and whether they were written as a JSON array."""

    args: list[str]
    json: bool = False


class CommandLine(NamedTuple):
    """An instruction cut into keyword, `--flags` and the rest."""

    keyword: str
    flags: list[str]
    rest: str


def split_command(line: str, escape: str) -> CommandLine:
    """Keyword, flags and the rest of a whole instruction."""
    parts = _BLANKS.split(line.strip(SPACE), maxsplit=1)
    if len(parts) < 2:
        return CommandLine(parts[0], [], "")
    rest, flags = _extract_flags(parts[1], escape)
    return CommandLine(parts[0], flags, rest.strip(SPACE))


def _extract_flags(line: str, escape: str) -> tuple[str, list[str]]:
    if not line.lstrip(SPACE).startswith("--"):
        return line.lstrip(SPACE), []
    if line.isascii():
        return _read_flags(line, escape)
    # flags are read byte by byte, so that a letter outside of ASCII becomes one letter per byte
    rest, flags = _read_flags(line.encode("utf-8", "surrogateescape").decode("latin-1"), escape)
    return rest.encode("latin-1").decode("utf-8", "surrogateescape"), flags


def _read_flags(line: str, escape: str) -> tuple[str, list[str]]:
    flags: list[str] = []
    pos, size = 0, len(line)
    while True:
        while pos < size and line[pos] in _SPACE:
            pos += 1
        if pos >= size:
            return "", flags
        if not line.startswith("--", pos):
            return line[pos:], flags
        word, quoted, pos = _read_flag(line, pos, escape)
        if word == "--":
            return line[pos:], flags
        if word or quoted:
            flags.append(word)


def _read_flag(line: str, pos: int, escape: str) -> tuple[str, bool, int]:
    """One flag from `pos`; whether it had quotes; and where it ended."""
    out: list[str] = []
    size, inside, quoted = len(line), "", False
    while pos < size:
        ch = line[pos]
        if inside:
            if ch == inside:
                inside, ch = "", ""
        elif ch in _SPACE:
            break
        elif ch in "'\"":
            inside, ch, quoted = ch, "", True
        if ch == escape:
            if pos + 1 == size:
                break
            pos += 1
            ch = line[pos]
        out.append(ch)
        pos += 1
    else:
        pos = size
    if pos < size and line[pos] == escape:
        pos = size
    return "".join(out), quoted, pos


_WORD_RUN = {ch: re.compile(rf"[^\s'\"{re.escape(ch)}\x1c-\x1f]+") for ch in ("\\", "`")}


def parse_words(rest: str, escape: str) -> list[str]:
    """Words separated by spaces; quotes and escapes keep a space inside of a word and stay in it."""
    rest = runes(rest)
    words: list[str] = []
    current: list[str] = []
    inside, blank_ok = "", False
    pos, size, run = 0, len(rest), _WORD_RUN[escape]
    while pos < size:
        ch = rest[pos]
        if not inside:
            plain = run.match(rest, pos)
            if plain:
                current.append(plain[0])
                pos = plain.end()
                continue
            if ch in _SPACE:
                if blank_ok or current:
                    words.append("".join(current))
                current, blank_ok = [], False
                pos += 1
                continue
            if ch in "'\"":
                inside, blank_ok = ch, True
                current.append(ch)
                pos += 1
                continue
        elif ch == inside:
            inside = ""
        if ch == escape and (not inside or inside != "'"):
            if pos + 1 == size:
                break
            current.append(ch)
            pos += 1
            ch = rest[pos]
        current.append(ch)
        pos += 1
    if blank_ok or current:
        words.append("".join(current))
    return words


def parse_json(rest: str) -> list[str] | None:
    """The strings of a JSON array, None when it is none. Raises DockerfileError for an array with other things in it."""
    rest = rest.lstrip(SPACE)
    if not rest.startswith("["):
        return None
    try:
        value = json.loads(rest, parse_constant=_no_constant, parse_float=_finite, parse_int=_finite)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in value):
        raise DockerfileError("when using JSON array syntax, arrays must be comprised of strings only")
    return [_SURROGATE.sub("\ufffd", item) for item in value]


def _no_constant(text: str) -> None:
    raise ValueError(text)


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(text)
    return value


def maybe_json(rest: str, escape: str, keyword: str) -> Cut:
    """A JSON array, or the whole text."""
    if not rest:
        return Cut([])
    items = parse_json(rest)
    return Cut([rest]) if items is None else Cut(items, True)


def maybe_json_list(rest: str, escape: str, keyword: str) -> Cut:
    """A JSON array, or words."""
    items = parse_json(rest)
    return whitespace_list(rest, escape, keyword) if items is None else Cut(items, True)


def whitespace_list(rest: str, escape: str, keyword: str) -> Cut:
    """Words, quotes meaning nothing."""
    return Cut(_BLANKS.split(rest) if rest else [])


def whole(rest: str, escape: str, keyword: str) -> Cut:
    """The whole text."""
    return Cut([rest] if rest else [])


def name_or_value(rest: str, escape: str, keyword: str) -> Cut:
    """`name`, `name=value`, several of them."""
    return Cut(parse_words(rest, escape))


def name_values(rest: str, escape: str, keyword: str) -> Cut:
    """`name=value …` or, with one space, `name value`; each as the three arguments name, value and separator."""
    words = parse_words(rest, escape)
    if not words:
        return Cut([])
    if "=" not in words[0]:
        parts = _BLANKS.split(rest, maxsplit=1)
        if len(parts) < 2:
            raise DockerfileError(f"{keyword.upper()} must have two arguments")
        return Cut([parts[0], parts[1], ""])
    args: list[str] = []
    for word in words:
        name, found, value = word.partition("=")
        if not found:
            raise DockerfileError(f"Syntax error - can't find = in {quote(word)}. Must be of the form: name=value")
        args += (name, value, "=")
    return Cut(args)


def health(rest: str, escape: str, keyword: str) -> Cut:
    """The type (`CMD`, `NONE`), then a JSON array or the whole text."""
    kind = re.match(r"[^\t\n\v\f\r ]*", rest)
    if kind is None or not kind[0]:
        return Cut([])
    args, is_json = maybe_json(rest[kind.end() :].lstrip("\t\n\v\f\r "), escape, keyword)
    return Cut([kind[0], *args], is_json)


def ignored(rest: str, escape: str, keyword: str) -> Cut:
    """Nothing: an unknown keyword is reported later, when its line is known."""
    return Cut([""])


LineParser = Callable[[str, str, str], Cut]

LINE_PARSERS: dict[str, LineParser] = {
    "add": maybe_json_list,
    "arg": name_or_value,
    "cmd": maybe_json,
    "copy": maybe_json_list,
    "entrypoint": maybe_json,
    "env": name_values,
    "expose": whitespace_list,
    "from": whitespace_list,
    "healthcheck": health,
    "label": name_values,
    "maintainer": whole,
    "run": maybe_json,
    "shell": maybe_json,
    "stopsignal": whole,
    "user": whole,
    "volume": maybe_json_list,
    "workdir": whole,
}
"""ONBUILD is missing: its argument is an instruction, which the parser reads itself."""
