"""Capability names."""

from shared.llb import FRONTEND_CAPS, LLB_CAPS, Cap


def test_all_are_there_once() -> None:
    assert (len(LLB_CAPS), len(set(LLB_CAPS))) == (88, 88)
    assert (len(FRONTEND_CAPS), len(set(FRONTEND_CAPS))) == (27, 27)
    assert {cap.value for cap in Cap} <= set(LLB_CAPS)
