"""--chmod: octal, or symbolic as chmod(1) reads it (tonistiigi/dchapes-mode)."""

from services.frontend.core.failure import DockerfileError
from services.frontend.core.go_text import parse_uint

_WHO = frozenset("augo")
_PERMISSIONS = frozenset("rstwXxugo")


def parse_mode(text: str) -> tuple[int, str]:
    """(mode, "") or (0, symbolic). Raises DockerfileError."""
    mode = parse_uint(text, 8, 32)
    complaint = f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
    if mode is not None:
        if mode > 0o7777:
            raise DockerfileError(complaint)
        return mode, ""
    if text[:1].isdigit():
        raise DockerfileError(complaint)
    if not _is_symbolic(text):
        raise DockerfileError("invalid syntax")
    return 0, text


def _is_symbolic(text: str) -> bool:
    """Clauses `[augo]*([+-=][rstwXxugo]*)+` with commas between."""
    return all(_is_clause(clause) for clause in text.split(","))


def _is_clause(clause: str) -> bool:
    rest = clause.lstrip("augo")
    if rest[:1] not in ("+", "-", "=") or not rest:
        return False
    return all(ch in "+-=" or ch in _PERMISSIONS for ch in rest)
