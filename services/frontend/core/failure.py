"""Errors of a Dockerfile, with the places in the file that they speak of."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
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
    return tuple(Span(start=n, end=n) for n in range(start, max(start, end) + 1))


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


@contextmanager
def located(location: Location) -> Iterator[None]:
    """Adds `location` to every DockerfileError that passes."""
    try:
        yield
    except DockerfileError as error:
        error.at(location)
        raise


def nearest(word: str, options: Iterable[str], *, case_sensitive: bool = True) -> str:
    """The option at an edit distance of 1 or 2 from `word`, "" when there is none or `word` itself is an option.

    Case follows the word's own when case does not matter (util/suggest).
    """
    wanted = word if case_sensitive else word.lower()
    best, best_distance = "", 3
    for option in sorted(options) if isinstance(options, set | frozenset) else options:
        candidate = option if case_sensitive else option.lower()
        if candidate == wanted:
            return ""
        distance = edit_distance(wanted, candidate, best_distance)
        if distance < best_distance:
            best, best_distance = candidate, distance
    return best if case_sensitive else _case_like(best, word)


def _case_like(text: str, model: str) -> str:
    return text.upper() if model == model.upper() and model != model.lower() else text


def edit_distance(a: Sequence[str], b: Sequence[str], limit: int) -> int:
    """Levenshtein distance of `a` and `b`, or any number ≥ `limit` once it is known not to be below it."""
    if abs(len(a) - len(b)) >= limit:
        return limit
    start, ends = 0, (len(a), len(b))
    while start < min(ends) and a[start] == b[start]:
        start += 1
    while start < min(ends) and a[ends[0] - 1] == b[ends[1] - 1]:
        ends = ends[0] - 1, ends[1] - 1
    a, b = a[start : ends[0]], b[start : ends[1]]  # equal beginnings and ends need no edits
    short, long = sorted((a, b), key=len)
    if len(short) <= 1:
        return len(long) - (1 if short and short[0] in long else 0)
    row = list(range(len(b) + 1))
    for i, ca in enumerate(a, 1):
        previous, row = row, [i]
        for j, cb in enumerate(b, 1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (ca != cb)))
        if min(row) >= limit:
            return limit
    return row[-1]
