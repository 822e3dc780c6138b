"""Words that open a heredoc."""

import pytest

from services.frontend.core.dockerfile.heredoc import chomp, heredocs_of_line, is_heredoc, parse_heredoc
from services.frontend.core.dockerfile.line_parsers import name_values, parse_json, parse_words, split_command
from services.frontend.core.failure import DockerfileError


@pytest.mark.parametrize(
    ("word", "name", "expands", "chomps"),
    [
        ("<<EOF", "EOF", True, False),
        ("<<-EOF", "EOF", True, True),
        ("<<'EOF'", "EOF", False, False),
        ('3<<"E"OF', "EOF", False, False),
        ("<< EOF", "EOF", True, False),
    ],
)
def test_a_heredoc_is_recognised(word: str, name: str, expands: bool, chomps: bool) -> None:
    found = parse_heredoc(word)

    assert found is not None
    assert (found.name, found.expand, found.chomp) == (name, expands, chomps)


@pytest.mark.parametrize("word", ["EOF", "<<", "<EOF", "<<<EOF", "a<<EOF", "<<a b"])
def test_other_words_are_none(word: str) -> None:
    assert parse_heredoc(word) is None


def test_a_broken_quote_is_an_error_or_none() -> None:
    with pytest.raises(DockerfileError):
        parse_heredoc("<<'x")
    assert is_heredoc("<<'x") is None
    assert heredocs_of_line("RUN 'x <<EOF") == []


def test_all_heredocs_of_a_line_are_found() -> None:
    assert [h.name for h in heredocs_of_line("COPY <<a <<'b c' /x")] == ["a", "b c"]


def test_tabs_are_chomped_from_each_line() -> None:
    assert chomp("\t\ta\n b\n\tc\t\n") == "a\n b\nc\t\n"


def test_commands_are_split_into_flags_and_rest() -> None:
    assert split_command("COPY --a=b --c='d e' -- --f g", "\\") == ("COPY", ["--a=b", "--c=d e"], "--f g")
    assert split_command("  RUN  ", "\\") == ("RUN", [], "")
    assert split_command("RUN --x=é y é", "\\").rest == "y é"


def test_words_keep_quotes_and_escapes() -> None:
    assert parse_words("a \"b c\" d\\ e 'f\\' g", "\\") == ["a", '"b c"', "d\\ e", "'f\\'", "g"]
    assert name_values("a b=c", "\\", "ENV").args == ["a", "b=c", ""]


def test_json_arrays_are_strict() -> None:
    assert parse_json(' ["a", "\\ud800"]') == ["a", "\ufffd"]
    for text in ("x", "[a]", '["a",]', "[NaN]", '["a"] x', "[" * 100_000, "[1e999]"):
        assert parse_json(text) is None
    with pytest.raises(DockerfileError):
        parse_json("[1]")
