"""What Ping advertises."""

import pytest

from shared.bridge.caps import FRONTEND_CAPS, LLB_CAPS, NOT_SERVED
from shared.llb import caps


def test_what_clients_rely_on_is_there() -> None:
    """An absent capability silently switches features off in clients."""
    assert {"return", "proto.refarray", "returnmap", "frontend.inputs", "gateway.evaluate"} <= set(FRONTEND_CAPS)
    assert {"soruce.http.uidgid", "exporter.multiple", "gc.freespacefilter", "mergeop"} <= set(LLB_CAPS)
    assert len(set(LLB_CAPS)) == len(LLB_CAPS) > 70


@pytest.mark.parametrize("name", NOT_SERVED)
def test_each_name_that_is_left_out_is_known(name: str) -> None:
    """A misspelt one would leave out nothing."""
    assert any(cap.startswith(name) for cap in caps.FRONTEND_CAPS + caps.LLB_CAPS)
    assert not any(cap.startswith(name) for cap in FRONTEND_CAPS + LLB_CAPS)
