"""Users and groups from passwd and group texts."""

import pytest

from services.executor.core.owners import group_id, needs_files, process_user, user_ids
from services.executor.core.spec import ProcessUser
from shared.errors import BuildFailed

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nbob:x:7:8::/:\n# comment\n\nbroken\nodd:x:abc:9::\n7:x:70:71::/:\n"
GROUP = b"root:x:0:\nstaff:x:50:alice,bob\nwheel:x:8:bob\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, (0,))),
        ("bob", (7, 8, (50, 8))),  # the primary group is among the supplementary ones already
        ("7", (7, 8, (50, 8))),  # a number is an id, whatever names there are
        ("99", (99, 0, (0,))),
        ("bob:staff", (7, 50, (50,))),
        ("bob:123", (7, 123, (123,))),
        ("7:9", (7, 9, (9,))),
        ("root:root", (0, 0, (0,))),
        ("4294967295:1", (4294967295, 1, (1,))),
    ],
)
def test_process_users(user: str, expected: tuple[int, int, tuple[int, ...]]) -> None:
    uid, gid, groups = expected

    assert process_user(user, PASSWD, GROUP) == ProcessUser(uid=uid, gid=gid, groups=groups)


def test_names_that_nobody_has() -> None:
    with pytest.raises(BuildFailed, match="unable to find user eve: no matching entries in passwd file"):
        process_user("eve", PASSWD, GROUP)
    with pytest.raises(BuildFailed, match="unable to find group club: no matching entries in group file"):
        process_user("bob:club", PASSWD, GROUP)
    with pytest.raises(BuildFailed):
        process_user("4294967296", PASSWD, GROUP)


def test_files_that_are_not_there() -> None:
    assert process_user("", None, None) == ProcessUser()
    assert process_user("5", None, None) == ProcessUser(uid=5)
    assert not needs_files("1:2") and not needs_files("root:2") and needs_files("1") and needs_files("bob:1")


def test_copy_owners_are_root_when_unknown() -> None:
    assert user_ids("bob", PASSWD) == (7, 8) and user_ids("eve", PASSWD) == (0, 0)
    assert group_id("staff", GROUP) == 50 and group_id("club", GROUP) == 0
