"""Filter expressions of clients, `type==regular,labels.env~=^prod` (grammar of containerd's pkg/filters).

Clauses within one expression must all match; of several expressions any one must. A clause without an operator asks for presence.
"""

import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as sre_parser  # type: ignore[import-not-found]
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

Field = Callable[[Sequence[str]], str | None]
"""How a filter asks a thing: the value at a field path, or None when it has none."""

_MAX_EXPRESSION = 4096
_MAX_PATTERN = 256
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r"[=!~]=")
_VALUE = re.compile(r"[^\s,\"'/|][^\s,]*")
_REPEATS = re.compile(r"[*+{]")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class _Op(Enum):
    PRESENT = ""
    EQUAL = "=="
    NOT_EQUAL = "!="
    MATCHES = "~="


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One `path op value`."""

    path: tuple[str, ...]
    op: _Op
    value: str = ""
    pattern: re.Pattern[str] | None = None
    reach: int = 4096  # a pattern looks at so many characters of a value

    def matches(self, field: Field) -> bool:
        """Whether a thing with these fields satisfies the clause."""
        found = field(self.path)
        match self.op:
            case _Op.PRESENT:
                return found is not None
            case _Op.EQUAL:
                return found == self.value
            case _Op.NOT_EQUAL:
                return found != self.value
            case _Op.MATCHES:
                return found is not None and self.pattern is not None and self.pattern.search(found[: self.reach]) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Parsed expressions; no expressions match everything."""

    expressions: tuple[tuple[Clause, ...], ...] = ()

    def matches(self, field: Field) -> bool:
        """Whether any expression matches."""
        return not self.expressions or any(all(c.matches(field) for c in e) for e in self.expressions)


def parse_filter(expressions: Sequence[str]) -> Filter:
    """Raises ValueError naming the expression and the place."""
    return Filter(expressions=tuple(_Parser(text).clauses() for text in expressions))


class _Parser:
    def __init__(self, text: str) -> None:
        if len(text) > _MAX_EXPRESSION:
            raise ValueError(f"filters: expression of {len(text)} characters is too long")
        self._text = text
        self._at = 0

    def clauses(self) -> tuple[Clause, ...]:
        if not self._text.strip():
            return ()
        found = [self._clause()]
        while self._skip_spaces() and self._peek() == ",":
            self._at += 1
            found.append(self._clause())
        if self._peek():
            raise self._error(f"unexpected input: {self._peek()}")
        return tuple(found)

    def _clause(self) -> Clause:
        path = [self._field()]
        while self._peek() == ".":
            self._at += 1
            path.append(self._field())
        self._skip_spaces()
        if self._peek() in ("", ","):
            return Clause(path=tuple(path), op=_Op.PRESENT)
        found = _OPERATOR.match(self._text, self._at)
        if found is None:
            raise self._error('expected an operator ("=="|"!="|"~=")')
        self._at = found.end()
        op = _Op(found[0])
        value = self._value(any_quote=op is _Op.MATCHES)
        if op is not _Op.MATCHES:
            return Clause(path=tuple(path), op=op, value=value)
        # each further repetition multiplies the work by the length of the value
        reach = 4096 if len(_REPEATS.findall(value)) <= 2 else 128
        return Clause(path=tuple(path), op=op, value=value, pattern=_compile(value), reach=reach)

    def _field(self) -> str:
        self._skip_spaces()
        if self._peek() in ('"', "'"):
            return self._quoted()
        found = _NAME.match(self._text, self._at)
        if found is None:
            raise self._error("expected field or quoted")
        self._at = found.end()
        return found[0]

    def _value(self, *, any_quote: bool) -> str:
        self._skip_spaces()
        if self._peek() in ('"', "'") or (any_quote and self._peek() in ("/", "|")):
            return self._quoted()
        found = _VALUE.match(self._text, self._at)
        if found is None:
            raise self._error("expected value or quoted")
        self._at = found.end()
        return found[0]

    def _quoted(self) -> str:
        quote, out = self._peek(), []
        self._at += 1
        while (char := self._peek()) != quote:
            if not char:
                raise self._error("quoted literal not terminated")
            self._at += 1
            if char == "\\" and quote in ('"', "'"):
                char = _ESCAPES.get(self._peek(), self._peek())
                self._at += 1
            out.append(char)
        self._at += 1
        return "".join(out)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip_spaces(self) -> bool:
        while self._peek().isspace():
            self._at += 1
        return True

    def _error(self, what: str) -> ValueError:
        return ValueError(f"filters: parse error: [{self._text[: self._at]} >|{self._peek()}|< {self._text[self._at + 1 :]}]: {what}")


def _compile(pattern: str) -> re.Pattern[str]:
    if len(pattern) > _MAX_PATTERN or len(_REPEATS.findall(pattern)) > 4:
        raise ValueError(f"filters: pattern of {len(pattern)} characters is too long or repeats too much")
    try:
        if _may_backtrack(sre_parser.parse(pattern), inside=False):
            raise ValueError(f"filters: pattern {pattern!r} repeats a repetition")
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"filters: pattern {pattern!r}: {error}") from None


def _may_backtrack(tree: Any, *, inside: bool) -> bool:
    """Clients choose the pattern, and Python's engine is exponential where repetitions nest; such patterns are refused."""
    return any(_node_may_backtrack(op, value, inside=inside) for op, value in tree)


def _node_may_backtrack(op: Any, value: Any, *, inside: bool) -> bool:
    if op in (sre.GROUPREF, sre.GROUPREF_EXISTS, sre.ASSERT, sre.ASSERT_NOT):
        return True
    if op in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        many = value[1] > 1
        return (many and inside) or _may_backtrack(value[2], inside=inside or many)
    if op is sre.BRANCH:
        return inside or any(_may_backtrack(branch, inside=inside) for branch in value[1])
    return op in (sre.SUBPATTERN, sre.ATOMIC_GROUP) and _may_backtrack(value[-1] if op is sre.SUBPATTERN else value, inside=inside)
