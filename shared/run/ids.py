"""Ids that nobody can guess, in BuildKit's form (identity/randomid.go): 25 characters of base 36."""

import os

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_LENGTH = 25


def new_id() -> str:
    """A fresh id of 128 random bits."""
    number = int.from_bytes(os.urandom(16), "big")
    out = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, 36)
        out.append(_DIGITS[digit])
    return "".join(reversed(out))
