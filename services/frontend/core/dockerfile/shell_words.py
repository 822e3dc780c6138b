"""Words of a Dockerfile: quotes, escapes and variable expansion (shell/lex.go).

One `Words` reads one text: `expand` gives the whole text with variables put in; `split` gives it cut at spaces.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.frontend.core.dockerfile.shell_patterns import replace_pattern, trim_prefix, trim_suffix
from services.frontend.core.failure import DockerfileError
from services.frontend.core.go_text import SPACE
from shared.llb.go_text import quote

_PLAIN = re.compile(r"[^$'\"<\\`\ufeff\udc80-\udcff]*")
_RUN = re.compile(r"[^$'\"<\\`}/]+")
"""Characters that mean nothing special in any reading."""

_INVALID = re.compile("[\udc80-\udcff]")
_SPECIAL_PARAMETERS = frozenset("@*#?-$!0")
_SPACE = frozenset(SPACE)
_MAX_DEPTH = 100  # of ${a:-${b:-…}}; without a bound the input decides how deep we recurse


@dataclass(slots=True)
class Budget:
    """Characters that variables may still put into texts; shared by one conversion, so that `ENV A=$A$A…` ends in an error."""

    left: int = 64 << 20

    def spend(self, size: int) -> None:
        """Raises DockerfileError when nothing is left."""
        self.left -= size
        if self.left < 0:
            raise DockerfileError("variables expand to too much text")


@dataclass(frozen=True, slots=True, kw_only=True)
class WordRules:
    """How a text is read. `escape` is the Dockerfile's escape character."""

    escape: str = "\\"
    raw_quotes: bool = False  # keep quotes in the result
    raw_escapes: bool = False  # keep escape characters in the result
    skip_quotes: bool = False  # quotes are ordinary characters
    skip_unset: bool = False  # leave variables that are not set as they stand
    budget: Budget | None = field(default=None, compare=False)


@dataclass(slots=True, kw_only=True)
class Expansion:
    """A text with its variables put in, and which variables were and were not found (in order of use)."""

    text: str
    matched: dict[str, None] = field(default_factory=dict)
    unmatched: dict[str, None] = field(default_factory=dict)


def is_plain(text: str) -> bool:
    """Whether `text` is the same after any expansion."""
    return _PLAIN.fullmatch(text) is not None


def expand(text: str, env: Mapping[str, str], rules: WordRules) -> Expansion:
    """`text` as one word. Raises DockerfileError for a broken quote or substitution."""
    if is_plain(text):
        return Expansion(text=text)
    reader = _Reader(text, env, rules, collect=False)
    result, _ = reader.read()
    return Expansion(text=result, matched=reader.matched, unmatched=reader.unmatched)


def split(text: str, env: Mapping[str, str], rules: WordRules) -> list[str]:
    """`text` with variables put in, cut into words at spaces outside of quotes."""
    _, words = _Reader(text, env, rules, collect=True).read()
    return words


class _WordList:
    """Collects words; the buffer is shared with nested readings, as in the original, where ${…} clears it."""

    def __init__(self, buffer: list[str]) -> None:
        self.buffer = buffer
        self.words: list[str] = []
        self.in_word = False

    def add_char(self, ch: str) -> None:
        if ch not in _SPACE:
            self.add_raw(ch)
        elif self.in_word and self.buffer:
            self.words.append("".join(self.buffer))
            self.buffer.clear()
            self.in_word = False

    def add_raw(self, text: str) -> None:
        if text:
            self.buffer.append(text)
        self.in_word = True

    def add_text(self, text: str) -> None:
        for ch in text:
            self.add_char(ch)

    def finish(self) -> list[str]:
        if self.buffer:
            self.words.append("".join(self.buffer))
            self.buffer.clear()
            self.in_word = False
        return self.words


class _NoWords(_WordList):
    """In place of a list that nobody wants."""

    def add_char(self, ch: str) -> None:
        return

    def add_raw(self, text: str) -> None:
        return

    def add_text(self, text: str) -> None:
        return


class _Reader:
    """`collect`: words are wanted, not only the whole text."""

    def __init__(self, text: str, env: Mapping[str, str], rules: WordRules, *, collect: bool) -> None:
        self.collect = collect
        self.source = text
        self.text = _INVALID.sub("\ufffd", text).removeprefix("\ufeff")
        self.pos = 0
        self.env = env
        self.rules = rules
        self.raw_escapes = rules.raw_escapes
        self.buffer: list[str] = []
        self.depth = 0
        self.matched: dict[str, None] = {}
        self.unmatched: dict[str, None] = {}

    def read(self) -> tuple[str, list[str]]:
        try:
            return self._until("", self.raw_escapes)
        except DockerfileError as error:
            raise error.prefixed(f"failed to process {quote(self.source)}") from None

    def _peek(self) -> str:
        return self.text[self.pos] if self.pos < len(self.text) else ""

    def _next(self) -> str:
        ch = self._peek()
        self.pos += 1 if ch else 0
        return ch

    def _until(self, stop: str, raw_escapes: bool) -> tuple[str, list[str]]:
        """Reads up to the character `stop` ("" = the end)."""
        if self.depth >= _MAX_DEPTH:
            raise DockerfileError("variable substitution nested too deeply")
        outer, self.raw_escapes = self.raw_escapes, raw_escapes
        self.depth += 1
        try:
            return self._run(stop)
        finally:
            self.raw_escapes = outer
            self.depth -= 1

    def _run(self, stop: str) -> tuple[str, list[str]]:
        self.buffer.clear()
        words = _WordList(self.buffer) if self.collect else _NoWords(self.buffer)
        result: list[str] = []
        while ch := self._peek():
            run = _RUN.match(self.text, self.pos)
            if run is not None:
                self.pos = run.end()
                result.append(run[0])
                words.add_text(run[0])
                continue
            if ch == stop:
                self.pos += 1
                return "".join(result), words.finish()
            if ch == "$":
                value = self._dollar()
                result.append(value)
                words.add_text(value)
            elif ch == "<" or (ch in "'\"" and not self.rules.skip_quotes):
                value = self._special(ch)
                result.append(value)
                words.add_raw(value)
            else:
                self._ordinary(self._next(), result, words)
        if stop:
            raise DockerfileError(f"unexpected end of statement while looking for matching {stop}")
        return "".join(result), words.finish()

    def _special(self, ch: str) -> str:
        if ch == "<":
            return self._possible_heredoc()
        return self._single_quoted() if ch == "'" else self._double_quoted()

    def _ordinary(self, ch: str, result: list[str], words: _WordList) -> None:
        if ch != self.rules.escape:
            words.add_char(ch)
            result.append(ch)
            return
        if self.raw_escapes:
            words.add_raw(ch)
            result.append(ch)
        escaped = self._next()
        if escaped:
            words.add_raw(escaped)
            result.append(escaped)

    def _single_quoted(self) -> str:
        end = self.text.find("'", self.pos + 1)
        if end < 0:
            self.pos = len(self.text)
            raise DockerfileError("unexpected end of statement while looking for matching single-quote")
        start, self.pos = self.pos, end + 1
        return self.text[start : end + 1] if self.rules.raw_quotes else self.text[start + 1 : end]

    def _double_quoted(self) -> str:
        result = [self._next()] if self.rules.raw_quotes else [self._next()][1:]
        while ch := self._peek():
            if ch == '"':
                self.pos += 1
                if self.rules.raw_quotes:
                    result.append(ch)
                return "".join(result)
            if ch == "$":
                result.append(self._dollar())
                continue
            self.pos += 1
            if ch == self.rules.escape:
                if self.raw_escapes:
                    result.append(ch)
                follower = self._peek()
                if not follower:
                    continue
                if follower in ('"', "$", self.rules.escape):
                    ch = self._next()
            result.append(ch)
        raise DockerfileError("unexpected end of statement while looking for matching double-quote")

    def _possible_heredoc(self) -> str:
        self.pos += 1
        if self._peek() != "<":
            return "<"
        start = self.pos = self.pos + 1
        while self._peek() in ("\t", "\r", " "):
            self.pos += 1
        return "<<" + self.text[start : self.pos]

    def _name(self) -> str:
        """A variable's name: letters, digits, underscore; only digits; or one special parameter."""
        start, text, size = self.pos, self.text, len(self.text)
        if start >= size:
            return ""
        pos = start
        if text[pos].isdecimal():
            while pos < size and text[pos].isdecimal():
                pos += 1
        elif text[pos] in _SPECIAL_PARAMETERS:
            pos += 1
        else:
            while pos < size and (text[pos] == "_" or text[pos].isalpha() or text[pos].isdecimal()):
                pos += 1
        self.pos = pos
        return text[start:pos]

    def _get(self, name: str) -> str | None:
        value = self.env.get(name)
        (self.unmatched if value is None else self.matched)[name] = None
        if value is not None and self.rules.budget is not None:
            self.rules.budget.spend(len(value))
        return value

    def _dollar(self) -> str:
        self.pos += 1
        if self._peek() == "{":
            self.pos += 1
            return self._braced()
        name = self._name()
        if not name:
            return "$"
        value = self._get(name)
        if value is None:
            return "$" + name if self.rules.skip_unset else ""
        return value

    def _braced(self) -> str:
        if not self._peek():
            raise DockerfileError("syntax error: missing '}'")
        if self._peek() in "{}:":
            raise DockerfileError("syntax error: bad substitution")
        name = self._name()
        ch = self._next()
        if ch == "}":
            value = self._get(name)
            if value is None:
                return "${" + name + "}" if self.rules.skip_unset else ""
            return value
        if ch == "/":
            return self._replacement(name)
        modifier = ch
        if ch == ":":
            ch = self._next()
            modifier += ch
        return self._modified(name, modifier, ch)

    def _modified(self, name: str, modifier: str, ch: str) -> str:
        colon = modifier[:1] == ":"
        trims = ch in ("#", "%") and bool(ch)
        # without a colon an unknown modifier is refused before, with one after its word has been read
        if (not colon and ch not in ("+", "-", "?", "#", "%")) or (colon and trims):
            raise DockerfileError("unsupported modifier (" + (modifier or "\ufffd") + ") in substitution")
        word = self._word("}", trims, "}")
        value = self._get(name)
        if value is None and self.rules.skip_unset:
            return "${" + name + modifier + word + "}"
        empty = value is None or (colon and value == "")
        match ch:
            case "-":
                return word if empty else value or ""
            case "+":
                return "" if empty else word
            case "?":
                if empty:
                    default = "is not allowed to be unset" if value is None else "is not allowed to be empty"
                    raise DockerfileError(f"{name}: {word or default}")
                return value or ""
            case "#" | "%":
                greedy = word.startswith(ch)
                trim = trim_prefix if ch == "#" else trim_suffix
                return trim(word[1:] if greedy else word, value or "", greedy=greedy)
            case _:
                raise DockerfileError(f"unsupported modifier ({modifier}) in substitution")

    def _word(self, stop: str, raw_escapes: bool, missing: str) -> str:
        try:
            return self._until(stop, raw_escapes)[0]
        except DockerfileError as error:
            if self._peek():
                raise
            text = f"syntax error: missing '{missing}'" + (" in ${}" if missing == "/" else "")
            raise DockerfileError(text) from error

    def _replacement(self, name: str) -> str:
        replace_all = self._peek() == "/"
        if replace_all:
            self.pos += 1
        pattern = self._word("/", True, "/")
        replacement = self._word("}", True, "}")
        value = self._get(name)
        if value is None and self.rules.skip_unset:
            return "${" + f"{name}/{pattern}/{replacement}" + "}"
        return replace_pattern(pattern, replacement, value or "", replace_all=replace_all)
