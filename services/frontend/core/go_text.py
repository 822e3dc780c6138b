"""Text rules of the Go standard library that Dockerfiles have come to depend on.

What counts as a space, how values are quoted in history entries, how numbers, booleans and durations are read:
all of it shows in digests and image configs, so it is reproduced exactly (packages unicode, strconv, fmt, time, csv).
"""

import re

from services.frontend.core.failure import DockerfileError
from shared.llb.go_text import quote

SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
"""unicode.IsSpace; str.isspace() also accepts the separators \\x1c..\\x1f."""

_INVALID = re.compile("[\udc80-\udcff]")


def runes(text: str) -> str:
    """What is left of text that Go took apart rune by rune: each invalid byte has become U+FFFD."""
    return text if text.isascii() else _INVALID.sub("\ufffd", text)


def quote_list(items: list[str] | tuple[str, ...]) -> str:
    """fmt's %q of a string slice: `["a" "b"]`."""
    return "[" + " ".join(quote(i) for i in items) + "]"


def plain_list(items: list[str] | tuple[str, ...]) -> str:
    """fmt's %v of a string slice: `[a b]`."""
    return "[" + " ".join(items) + "]"


_DECIMAL = re.compile(r"[+-]?[0-9]+")
_OCTAL = re.compile(r"[0-7]+")
_UNSIGNED = re.compile(r"[0-9]+")


def parse_int(text: str, bits: int = 64, *, call: str = "ParseInt") -> int:
    """strconv.ParseInt(text, 10, bits), with its error text."""
    if not _DECIMAL.fullmatch(text):
        raise DockerfileError(f"strconv.{call}: parsing {quote(text)}: invalid syntax")
    value = int(text) if len(text) < 40 else 1 << 200
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise DockerfileError(f"strconv.{call}: parsing {quote(text)}: value out of range")
    return value


def parse_uint(text: str, base: int = 10, bits: int = 64) -> int | None:
    """strconv.ParseUint; None when it is not one."""
    if not (_OCTAL if base == 8 else _UNSIGNED).fullmatch(text) or len(text) > 40:
        return None
    value = int(text, base)
    return value if value < 1 << bits else None


_UNITS = {"ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")


def parse_duration(text: str) -> int:
    """time.ParseDuration, in nanoseconds."""
    rest = text
    negative = rest.startswith("-")
    if rest[:1] in ("-", "+"):
        rest = rest[1:]
    if rest == "0":
        return 0
    if not rest:
        raise DockerfileError(f"time: invalid duration {_quote_bytes(text)}")
    total = 0
    while rest:
        match = _DURATION_PART.match(rest)
        if match is None or (not match[1] and not match[2]):
            raise DockerfileError(f"time: invalid duration {_quote_bytes(text)}")
        if not match[3]:
            raise DockerfileError(f"time: missing unit in duration {_quote_bytes(text)}")
        if match[3] not in _UNITS:
            raise DockerfileError(f"time: unknown unit {_quote_bytes(match[3])} in duration {_quote_bytes(text)}")
        unit = _UNITS[match[3]]
        if len(match[1]) > 19 or len(match[2] or "") > 100:
            raise DockerfileError(f"time: invalid duration {_quote_bytes(text)}")
        total += int(match[1] or "0") * unit
        if match[2]:
            total += int(match[2]) * unit // 10 ** len(match[2])
        rest = rest[match.end() :]
    if total > (1 << 63) - (0 if negative else 1):
        raise DockerfileError(f"time: invalid duration {_quote_bytes(text)}")
    return -total if negative else total


def _quote_bytes(text: str) -> str:
    """How package time quotes: all that is not ASCII byte by byte."""
    shown = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(ch if " " <= ch < "\x80" else _hex(ch) for ch in shown) + '"'


def _hex(ch: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in ch.encode("utf-8", "surrogateescape"))


def format_duration(nanoseconds: int) -> str:
    """time.Duration.String: `1m30s`, `1.5s`, `100ms`, `0s`."""
    if nanoseconds == 0:
        return "0s"
    sign, value = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if value < 1000:
        return f"{sign}{value}ns"
    for unit, size in (("µs", 1000), ("ms", 10**6)):
        if value < size * 1000:
            return sign + _decimal(value, size) + unit
    minutes, rest = divmod(value, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else (f"{minutes}m" if minutes else "")
    return sign + head + _decimal(rest, 10**9) + "s"


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    if not rest:
        return str(whole)
    return f"{whole}.{str(rest).rjust(len(str(size)) - 1, '0').rstrip('0')}"


def csv_fields(line: str) -> list[str]:
    """The fields of one CSV line (go-csvvalue: encoding/csv's rules and errors)."""
    if line.endswith("\n"):
        line = line[:-2] if line.endswith("\r\n") else line[:-1]
    if not line:
        raise DockerfileError("EOF")
    fields: list[str] = []
    pos = 0
    while True:
        if line[pos : pos + 1] != '"':
            end = line.find(",", pos)
            field = line[pos:] if end < 0 else line[pos:end]
            if '"' in field:
                raise _csv_error(line, pos + field.index('"'), 'bare " in non-quoted-field')
            fields.append(field)
            if end < 0:
                return fields
            pos = end + 1
            continue
        field, pos = _quoted_field(line, pos + 1)
        fields.append(field)
        if pos >= len(line):
            return fields
        pos += 1


def _quoted_field(line: str, pos: int) -> tuple[str, int]:
    """The field whose opening quote is just before `pos`; and where its comma is, or the end."""
    parts: list[str] = []
    while True:
        end = line.find('"', pos)
        if end < 0:
            raise _csv_error(line, pos, 'extraneous or missing " in quoted-field')
        parts.append(line[pos:end])
        follower = line[end + 1 : end + 2]
        if follower == '"':
            parts.append('"')
            pos = end + 2
        elif follower in (",", ""):
            return "".join(parts), end + 1
        else:
            raise _csv_error(line, end, 'extraneous or missing " in quoted-field')


def _csv_error(line: str, pos: int, what: str) -> DockerfileError:
    column = len(line[:pos].encode("utf-8", "surrogateescape")) + 1
    return DockerfileError(f"parse error on line 1, column {column}: {what}")


_SIZE_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def parse_ram_size(text: str) -> int | None:
    """Bytes of `64m`, `1.5GiB`, `100`; None when it is no size (docker/go-units RAMInBytes)."""
    match = re.fullmatch(r"([0-9.]*[0-9.])[ ]?([^0-9. ]{0,3})", text)
    if match is None:
        return None
    try:
        size = float(match[1])
    except ValueError:
        return None
    suffix = match[2].lower()
    if suffix and suffix != "b":
        if suffix[0] not in _SIZE_UNITS or suffix[1:] not in ("", "b", "ib"):
            return None
        size *= _SIZE_UNITS[suffix[0]]
    return int(size) if size < 1 << 63 else None
