"""Names of signals for STOPSIGNAL (moby/sys/signal)."""

import re

_NAMES = frozenset(
    [
        *("ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL", "PROF"),
        *("PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2"),
        *("VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX"),
        *(f"RTMIN+{n}" for n in range(1, 16)),
        *(f"RTMAX-{n}" for n in range(1, 15)),
    ]
)
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


def is_signal(text: str) -> bool:
    """A name, with or without SIG, or a number other than 0."""
    if _NUMBER.fullmatch(text):
        return int(text) != 0
    return text.upper().removeprefix("SIG") in _NAMES
