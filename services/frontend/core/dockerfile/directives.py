"""Parser directives: `# syntax=`, `# escape=`, `# check=` at the top of the file (parser/directives.go)."""

import json
import re
from dataclasses import dataclass

from services.frontend.core.failure import DockerfileError, Location, line_spans
from services.frontend.core.go_text import SPACE

BOM = b"\xef\xbb\xbf"
_NAMES = frozenset(("syntax", "escape", "check"))
_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    name: str
    value: str
    location: Location


class DirectiveReader:
    """Reads line by line, until the first that is no directive."""

    def __init__(self, *, comment: str = "#", line: int = 0) -> None:
        self._comment = comment
        self._line = line
        self._seen: set[str] = set()
        self.done = False

    def read(self, line: str) -> Directive | None:
        """The directive of this line, if it is one. Raises DockerfileError when it is given a second time."""
        self._line += 1
        if self.done:
            return None
        match = None
        if line.startswith(self._comment):
            match = _DIRECTIVE.fullmatch(line[len(self._comment) :].lstrip(SPACE))
        if match is None or match[1].lower() not in _NAMES:
            self.done = True
            return None
        name = match[1].lower()
        if name in self._seen:
            raise DockerfileError(f"only one {name} parser directive can be used")
        self._seen.add(name)
        return Directive(name=name, value=match[2], location=line_spans(self._line, self._line))


def find_directive(name: str, data: bytes) -> Directive | None:
    """The directive `name` of a Dockerfile, a byte order mark and a `#!` line before it being skipped."""
    return _search(name, *_without_shebang(data), "#")


def detect_syntax(data: bytes) -> tuple[str, str, Location] | None:
    """(image, whole line, place) of the syntax asked for: `# syntax=`, `// syntax=` or JSON with the key "syntax"."""
    body, line = _without_shebang(data)
    found = _search("syntax", body, line, "#") or _search("syntax", body, line, "//")
    if found is not None:
        return found.value.split(" ", 1)[0], found.value, found.location
    value = _json_syntax(body)
    return (value, value, line_spans(line, line)) if value is not None else None


def _without_shebang(data: bytes) -> tuple[bytes, int]:
    data = data.removeprefix(BOM)
    if data.startswith(b"#!"):
        return data.partition(b"\n")[2], 1
    return data, 0


def _search(name: str, body: bytes, line: int, comment: str) -> Directive | None:
    reader = DirectiveReader(comment=comment, line=line)
    found: Directive | None = None
    start = 0
    while start < len(body) and not reader.done:
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        try:
            directive = reader.read(body[start:end].removesuffix(b"\r").decode("utf-8", "surrogateescape"))
        except DockerfileError:
            return found
        if directive is not None and directive.name == name and found is None:
            found = directive
        start = end + 1
    return found


def _json_syntax(body: bytes) -> str | None:
    if not body.lstrip().startswith(b"{"):
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    syntax = value.get("syntax") if isinstance(value, dict) else None
    return syntax if isinstance(syntax, str) else None
