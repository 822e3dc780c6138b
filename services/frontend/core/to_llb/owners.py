"""`user[:group]` of --chown and USER (client/llb/fileop.go WithUser)."""

import re

from shared.llb import Chown, Owner

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


def parse_owner(text: str) -> Chown:
    """Numbers and `root` are taken as they are; names are looked up where the operation runs."""
    user, found, group = text.partition(":")
    return Chown(user=_owner(user), group=_owner(group) if found else None)


def _owner(text: str) -> Owner:
    if text == "root":
        return Owner(id=0)
    if _NUMBER.fullmatch(text) and -(1 << 31) <= int(text) < 1 << 31:
        return Owner(id=int(text) & 0xFFFFFFFF)
    return Owner(name=text)
