"""What an exit code means for the build, in the words that clients print and tools look for (reference 03 §3, 06 §7.6)."""

from __future__ import annotations

from collections.abc import Sequence

from shared.errors import BuildFailed

__all__ = ["exit_error", "go_quote"]

_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"'}


def go_quote(text: str) -> str:
    """`text` as Go's %q writes it."""
    out = []
    for char in text:
        if char in _ESCAPES:
            out.append(_ESCAPES[char])
        elif char.isprintable():
            out.append(char)
        elif ord(char) < 0x80:
            out.append(f"\\x{ord(char):02x}")
        else:
            out.append(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}")
    return '"' + "".join(out) + '"'


def exit_error(args: Sequence[str], code: int, valid: Sequence[int], *, out_of_memory: bool = False) -> BuildFailed | None:
    """None when the code is wanted: 0, or one of `valid` if that is not empty (0 is not implied then)."""
    if code in (valid or (0,)):
        return None
    cause = f"exit code: {code}" + (": cannot allocate memory" if out_of_memory else "")
    return BuildFailed(f"process {go_quote(' '.join(args))} did not complete successfully: {cause}", reason="ExitCode")
