"""Text rules of the Go standard library that show in messages and digests (package strconv)."""

import re
import unicodedata

_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"'}
_PLAIN = re.compile(r"[ !#-\[\]-~]*")


def quote(text: str) -> str:
    """strconv.Quote: surrogate escapes stand for single invalid bytes and come out as \\xNN."""
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    return '"' + "".join(_quoted(ch) for ch in text) + '"'


def _quoted(ch: str) -> str:
    code = ord(ch)
    if ch in _ESCAPES:
        return _ESCAPES[ch]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if ch == " " or unicodedata.category(ch)[0] in "LMNPS":
        return ch
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


def parse_bool(text: str) -> bool | None:
    """strconv.ParseBool; None when it is no boolean."""
    if text in _TRUE:
        return True
    return False if text in _FALSE else None
