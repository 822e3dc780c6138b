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


@pytest.mark.parametrize(("pattern", "template", "said"), [(".*", "$0" * 100, "more than 65536"), ("(a{1000}){40}", None, "")])
async def test_what_grows(pattern: str, template: str | None, said: str) -> None:
    """A replacement has a bound; what is only large does not."""
    question = RegexQuestion(pattern=pattern, text="a" * 50_000, template=template)
    if said:
        with pytest.raises(BuildFailed, match=said):
            await RegexProcesses().ask(question)
    else:
        assert (await RegexProcesses().ask(question)).found


async def test_many_places_are_one_replacement() -> None:
    with pytest.raises(BuildFailed, match="more than 65536"):
        await RegexProcesses().ask(RegexQuestion(pattern="a", text="a" * 1000, template="b" * 1000))
