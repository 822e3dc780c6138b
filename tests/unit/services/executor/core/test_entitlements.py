"""Privileges, checked in the executor."""

import pytest

from services.executor.core.entitlements import check_entitlements
from shared.errors import BuildFailed
from shared.llb import ExecOp, Meta, NetMode, SecurityMode, SourceOp

META = Meta(args=("true",))


def test_what_was_granted_may_be_used() -> None:
    """And ops that run nothing need nothing."""
    check_entitlements(
        ExecOp(meta=META, mounts=(), network=NetMode.HOST, security=SecurityMode.INSECURE), ("network.host", "security.insecure")
    )
    check_entitlements(SourceOp(identifier="local://x"), ())


def test_the_rest_is_refused_in_buildkits_words() -> None:
    """Whoever wrote the task on the bus."""
    with pytest.raises(BuildFailed, match=r"^network\.host is not allowed$"):
        check_entitlements(ExecOp(meta=META, mounts=(), network=NetMode.HOST), ("security.insecure",))
    with pytest.raises(BuildFailed, match=r"^security\.insecure is not allowed$"):
        check_entitlements(ExecOp(meta=META, mounts=(), security=SecurityMode.INSECURE), ())
