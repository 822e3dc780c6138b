"""Dockerfile → LLB, compared with kept answers.

The answers were the same as the real frontend's when they were written (tests/compat/dockerfile_frontend.py compares them again).
A failing case leaves `expected.json.actual`; `pytest --update-golden` keeps what is made now.
"""

import json

import pytest

from tests.kit.dockerfile_cases import EXPECTED, Case, answer, as_golden, cases

ALL = list(cases())


@pytest.mark.parametrize("case", ALL, ids=[case.name for case in ALL])
def test_a_dockerfile_gives_the_kept_operations(case: Case, update_golden: bool) -> None:
    made = json.dumps(as_golden(answer(case)), indent=1, ensure_ascii=False) + "\n"
    kept = case.folder / EXPECTED
    if update_golden:
        kept.write_text(made)
    wanted = kept.read_text() if kept.exists() else ""
    if made != wanted:
        kept.with_suffix(".json.actual").write_text(made)

    assert json.loads(made) == (json.loads(wanted) if wanted else None)
