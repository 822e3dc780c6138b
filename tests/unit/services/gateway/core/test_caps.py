"""What Ping advertises."""

from services.gateway.core.caps import FRONTEND_CAPS
from shared.llb.caps import LLB_CAPS


def test_lists_are_whole_and_unique() -> None:
    """An absent capability silently switches features off in clients."""
    assert len(set(FRONTEND_CAPS)) == len(FRONTEND_CAPS) >= 22
    assert len(set(LLB_CAPS)) == len(LLB_CAPS) == 88
    assert {"return", "proto.refarray", "returnmap", "frontend.inputs"} <= set(FRONTEND_CAPS)
    assert "soruce.http.uidgid" in LLB_CAPS
