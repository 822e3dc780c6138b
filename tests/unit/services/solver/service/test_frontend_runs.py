"""Who may ask at a build's bridge."""

import pytest

from services.solver.service.frontend_runs import FrontendRuns
from shared.errors import Denied


def test_a_run_is_known_while_it_lasts_by_its_whole_name() -> None:
    """Also when another one runs inside of it, and when it fails."""
    runs = FrontendRuns("b1")
    with pytest.raises(RuntimeError), runs.open("outer-name"):
        with runs.open("inner-name"):
            runs.require("outer-name")
            runs.require("inner-name")
        for name in ("inner-name", "", "outer-nam", "outer-name2", "OUTER-NAME", "\udcff"):
            with pytest.raises(Denied, match="build b1"):
                runs.require(name)
        raise RuntimeError
    with pytest.raises(Denied):
        runs.require("outer-name")
