"""Errors of a Dockerfile, with the places in the file that they speak of."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.errors import BuildmeshError, Unsupported, frontend_cap_detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Lines `start`..`end` of the Dockerfile, counted from 1 (0 = before the first line)."""

    start: int
    end: int


Location = tuple[Span, ...]


def line_spans(start: int, end: int) -> Location:
    """One span for each line from start to end; just `start` when end is not behind it (parser/errors.go toRanges)."""
    if end <= start:
        return (Span(start=start, end=start),)
    return tuple([Span(start=n, end=n) for n in range(start, end + 1)])


class DockerfileError(Exception):
    """The Dockerfile, or an option, is wrong. `locations` in the order in which they were added, innermost first.

    `cause` is the error of the mesh below it, when something asked of the build failed: its details travel on.
    """

    def __init__(self, message: str, *, cause: BuildmeshError | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.locations: list[Location] = []

    def prefixed(self, prefix: str) -> "DockerfileError":
        """Self, with `prefix: ` before the message."""
        self.message = f"{prefix}: {self.message}"
        self.args = (self.message,)
        return self

    def at(self, location: Location) -> "DockerfileError":
        """Self, with one more place."""
        self.locations.append(location)
        return self

    def only_at(self, location: Location) -> "DockerfileError":
        """Self, with this place in place of all others."""
        self.locations = [location]
        return self

    def suggesting(self, word: str, options: Iterable[str], *, case_sensitive: bool = True) -> "DockerfileError":
        """Self, with ` (did you mean …?)` when one of `options` is close to `word`."""
        match = nearest(word, options, case_sensitive=case_sensitive)
        if match:
            self.message += f" (did you mean {match}?)"
            self.args = (self.message,)
        return self


def cap_missing(name: str) -> DockerfileError:
    """A capability that the caller requires and the frontend lacks."""
    message = f"unsupported frontend capability {name}"
    return DockerfileError(message, cause=Unsupported(message, details=[frontend_cap_detail(name)]))


class located:
    """Adds `location` to every DockerfileError that passes."""

    __slots__ = ("_location",)

    def __init__(self, location: Location) -> None:
        self._location = location

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DockerfileError):
            error.at(self._location)


def nearest(word: str, options: Iterable[str], *, case_sensitive: bool = True) -> str:
    """The option at an edit distance of 1 or 2 from `word`, "" when there is none or `word` itself is an option.

    Case follows the word's own when case does not matter (util/suggest).
    """
    wanted = word if case_sensitive else word.lower()
    candidates = sorted(options) if isinstance(options, set | frozenset) else list(options)
    if not case_sensitive:
        candidates = [candidate.lower() for candidate in candidates]
    if wanted in candidates:
        return ""
    found = ""
    for candidate in candidates:
        if abs(len(candidate) - len(wanted)) > 2:
            continue
        if within(wanted, candidate, 1):
            found = candidate
            break
        if not found and within(wanted, candidate, 2):
            found = candidate
    return found if case_sensitive else _case_like(found, word)


def _case_like(text: str, model: str) -> str:
    return text.upper() if model == model.upper() and model != model.lower() else text


def within(a: str, b: str, edits: int) -> bool:
    """Whether `a` becomes `b` by at most so many insertions, removals and replacements of characters. For few edits: it tries all."""
    if abs(len(a) - len(b)) > edits:
        return False
    at = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[at:], b[at:]
    if a == b or edits == 0:
        return a == b
    if edits == 1:
        return a[1:] == b[1:] or a[1:] == b or a == b[1:]
    return within(a[1:], b[1:], edits - 1) or within(a[1:], b, edits - 1) or within(a, b[1:], edits - 1)
