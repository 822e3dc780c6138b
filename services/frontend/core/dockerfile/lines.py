"""The lines of a Dockerfile: ends, comments, continuations (parser/parser.go)."""

import re

from services.frontend.core.failure import DockerfileError
from services.frontend.core.go_text import SPACE

MAX_LINE = 65536
"""Bytes of one line with its end; BuildKit's scanner refuses longer ones."""

_CONTINUED = {e: re.compile(rf"([^{re.escape(e)}]){re.escape(e)}[ \t]*\Z|^{re.escape(e)}[ \t]*\Z") for e in ("\\", "`")}


class LineReader:
    """Hands out lines with their ends, as text; invalid bytes become surrogate escapes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0
        self.too_long = False

    def next(self) -> str | None:
        """The next line, None at the end or before a line that is too long (then `too_long` is set)."""
        if self.too_long or self._pos >= len(self._data):
            return None
        end = self._data.find(b"\n", self._pos, self._pos + MAX_LINE) + 1
        if end == 0:
            end = len(self._data)
            if end - self._pos >= MAX_LINE:
                self.too_long = True
                return None
        line = self._data[self._pos : end]
        self._pos = end
        return line.decode("utf-8", "surrogateescape")

    def check(self) -> None:
        """Raises DockerfileError when reading stopped at a line that is too long."""
        if self.too_long:
            raise DockerfileError(f"dockerfile line greater than max allowed size of {MAX_LINE - 1}")


def trim_end(line: str) -> str:
    return line.rstrip("\r\n")


def is_comment(line: str) -> bool:
    return line.lstrip(SPACE).startswith("#")


def trim_continuation(line: str, escape: str) -> tuple[str, bool]:
    """The line without its continuation character, and whether the instruction ends with it."""
    if escape not in line:
        return line, True
    match = _CONTINUED[escape].search(line)
    if match is None:
        return line, True
    return line[: match.start()] + (match[1] or ""), False
