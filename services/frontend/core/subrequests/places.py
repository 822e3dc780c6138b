"""Places in the Dockerfile as pb.Location in JSON, and the excerpt that goes with them (solver/errdefs/source.go Print)."""

from collections.abc import Iterable, Sequence
from typing import Any

from services.frontend.core.failure import Location, Span


def location_json(location: Location) -> dict[str, Any]:
    """Zero values are left out, as Go's `omitempty` does."""
    ranges = [{"start": _position(span.start), "end": _position(span.end)} for span in location]
    return {"ranges": ranges} if ranges else {}


def _position(line: int) -> dict[str, int]:
    return {"line": line} if line else {}


def merged(locations: Iterable[Location]) -> Location:
    """All spans in order, those that overlap joined."""
    spans = sorted((span for location in locations for span in location), key=lambda span: span.start)
    out: list[Span] = []
    for span in spans:
        if out and len(spans) > 1 and span.start <= out[-1].end:
            out[-1] = Span(start=out[-1].start, end=max(out[-1].end, span.end))
        else:
            out.append(span)
    return tuple(out)


def excerpt_lines(data: bytes) -> list[str]:
    """A file as `excerpt` takes it."""
    return data.decode("utf-8", "replace").split("\n")


def excerpt(filename: str, lines: Sequence[str], location: Location) -> str:
    """The lines of `location` marked, with some around them; "" when there are none."""
    if not location:
        return ""
    first = min(span.start for span in location)
    last = min(max(max(span.end, span.start) for span in location), len(lines))
    if not 1 <= first <= len(lines):
        return ""
    start, end = _padded(first, last, len(lines))
    marked = {n for span in location for n in range(span.start, max(span.end, span.start) + 1)}
    shown = [f" {n:3d} | {'>>>' if n in marked else '   '} {lines[n - 1]}\n" for n in range(start, end + 1)]
    rule = "--------------------\n"
    return f"{filename}:{first}\n{rule}{''.join(shown)}{rule}"


def _padded(start: int, end: int, count: int) -> tuple[int, int]:
    padding = 4 if start == end else 2
    added = 0
    while added < padding:
        if start > 1:
            start, added = start - 1, added + 1
        if end != count:
            end, added = end + 1, added + 1
        added += 1
    return start, end
