"""The .dockerignore file (moby/patternmatcher/ignorefile)."""

from services.frontend.core.dockerfile.directives import BOM
from services.frontend.core.go_text import SPACE
from shared.llb import clean_path


def parse_ignore_file(data: bytes) -> list[str]:
    """Patterns as they go into `local.excludepatterns`; `!` marks exceptions."""
    patterns: list[str] = []
    lines = data.removeprefix(BOM).decode("utf-8", "surrogateescape").split("\n")
    for line in lines:
        pattern = "" if line.startswith("#") else line.strip(SPACE)
        if not pattern:
            continue
        exception = pattern.startswith("!")
        if exception:
            pattern = pattern[1:].strip(SPACE)
        if pattern:
            pattern = clean_path(pattern)
            pattern = pattern[1:] if len(pattern) > 1 and pattern.startswith("/") else pattern
        patterns.append("!" + pattern if exception else pattern)
    return patterns
