"""Regular expressions of clients, each in a process of its own."""

import pytest

from services.solver.adapters import regexes
from services.solver.adapters.regexes import RegexProcesses
from services.solver.core.source_policy import RegexQuestion, RegexReply
from shared.errors import BuildFailed


async def test_found_and_replaced() -> None:
    asked = RegexProcesses()
    question = RegexQuestion(pattern=r"library/(\w+):(?P<tag>.*)$", text="docker.io/library/alpine:3", template="mine/${1}:$tag-x")
    assert await asked.ask(question) == RegexReply(found=True, replaced="docker.io/mine/alpine:3-x")
    assert await asked.ask(RegexQuestion(pattern="^b", text="abc")) == RegexReply(found=False)


async def test_a_bad_one_is_told() -> None:
    with pytest.raises(BuildFailed, match="invalid regex"):
        await RegexProcesses().ask(RegexQuestion(pattern="(", text="x"))


async def test_one_without_an_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regexes, "WITHIN", 0.5)
    with pytest.raises(BuildFailed, match="takes too long"):
        await RegexProcesses().ask(RegexQuestion(pattern="(a+)+$", text="a" * 60 + "b"))
