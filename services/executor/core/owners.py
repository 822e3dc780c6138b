"""Users and groups by name or number, looked up in the text of /etc/passwd and /etc/group (reference 06 §7.3, 03 §4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.executor.core.spec import ProcessUser
from shared.errors import BuildFailed

__all__ = ["MAX_USER_FILE", "group_id", "needs_files", "process_user", "user_ids"]

MAX_USER_FILE = 10 << 20
_MAX_ID = 2**32 - 1


@dataclass(frozen=True, slots=True)
class _User:
    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def user_ids(name: str, passwd: bytes) -> tuple[int, int]:
    """Ids of a COPY --chown user: a name that is not found means root, silently (ops/user_linux.go)."""
    return next(((user.uid, user.gid) for user in _users(passwd) if user.name == name), (0, 0))


def group_id(name: str, group: bytes) -> int:
    """Id of a COPY --chown group; not found means 0."""
    return next((found.gid for found in _groups(group) if found.name == name), 0)


def needs_files(user: str) -> bool:
    """Whether passwd and group must be read for a process user; not for "" and for `uid:gid` in numbers."""
    name, colon, group = user.partition(":")
    return not (colon and _literal(name) is not None and _literal(group) is not None)


def process_user(user: str, passwd: bytes | None, group: bytes | None) -> ProcessUser:
    """The user a step runs as (executor/oci/user.go). None = the file does not exist. Errors: BuildFailed naming the user."""
    name, colon, group_name = user.partition(":")
    uid, gid = _literal(name), _literal(group_name) if colon else None
    if colon and uid is not None and gid is not None:
        return ProcessUser(uid=uid, gid=gid, groups=(gid,))  # taken as they are, no supplementary groups
    try:
        return _looked_up(name or "0", group_name if colon else None, passwd or b"", group or b"")
    except BuildFailed:
        if user:
            raise
        return ProcessUser()  # no user asked for: an image without (or with odd) user files runs as root


def _looked_up(name: str, group_name: str | None, passwd: bytes, group: bytes) -> ProcessUser:
    users, groups, number = _users(passwd), list(_groups(group)), _number(name)
    found = next((user for user in users if (user.name == name if number is None else user.uid == number)), None)
    if found is None:
        if number is None:
            raise BuildFailed(f"unable to find user {name}: no matching entries in passwd file")
        found = _User("", number, 0)
    if group_name is not None:
        gid = _find_group(group_name, groups)
        return ProcessUser(uid=found.uid, gid=gid, groups=(gid,))
    extra = tuple(g.gid for g in groups if found.name and found.name in g.members)
    return ProcessUser(uid=found.uid, gid=found.gid, groups=extra if found.gid in extra else (found.gid, *extra))


def _find_group(name: str, groups: list[_Group]) -> int:
    number = _number(name)
    found = next((g.gid for g in groups if g.name == name), None)
    if found is None and number is not None:
        found = number
    if found is None:
        raise BuildFailed(f"unable to find group {name}: no matching entries in group file")
    return found


def _literal(text: str) -> int | None:
    return 0 if text == "root" else _number(text)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text) <= _MAX_ID else None


def _rows(text: bytes) -> Iterator[list[str]]:
    for line in text.decode("utf-8", "surrogateescape").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip().split(":")


def _users(text: bytes) -> Iterator[_User]:
    for row in _rows(text):
        uid, gid = (_number(part) for part in [*row, "", "", "", ""][2:4])
        if row[0]:
            yield _User(row[0], uid or 0, gid or 0)


def _groups(text: bytes) -> Iterator[_Group]:
    for row in _rows(text):
        padded = [*row, "", "", ""]
        if row[0]:
            yield _Group(row[0], _number(padded[2]) or 0, tuple(name for name in padded[3].split(",") if name))
