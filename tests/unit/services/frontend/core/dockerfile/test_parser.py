"""From bytes to nodes."""

import pytest

from services.frontend.core.dockerfile.lines import MAX_LINE, LineReader, is_comment, trim_continuation, trim_end
from services.frontend.core.dockerfile.parser import MAX_SIZE, parse, parse_node
from services.frontend.core.failure import DockerfileError, Span


def args(text: str) -> list[list[str]]:
    return [[node.keyword, *node.args] for node in parse(text.encode()).nodes]


def test_instructions_are_cut_by_the_rules_of_their_keyword() -> None:
    assert args('FROM a AS b\nRUN x  y\nCMD ["p", "q"]\nENV A=1 "B C"=2\nENV D e f\n') == [
        ["FROM", "a", "AS", "b"],
        ["RUN", "x  y"],
        ["CMD", "p", "q"],
        ["ENV", "A", "1", "=", '"B C"', "2", "="],
        ["ENV", "D", "e f", ""],
    ]


def test_continued_lines_are_joined_without_comments_and_blank_lines() -> None:
    parsed = parse(b"FROM a\nRUN x \\\n# no\n\n  && y\n")

    assert parsed.nodes[1].args == ["x   && y"]
    assert (parsed.nodes[1].start, parsed.nodes[1].end) == (2, 5)
    assert parsed.empty_continuations == [5]


def test_an_escaped_escape_does_not_continue_a_line() -> None:
    assert args("FROM a\nRUN x \\\\\nUSER y\n")[2] == ["USER", "y"]


def test_the_escape_directive_changes_both_roles() -> None:
    parsed = parse(b"# escape=`\nFROM a\nRUN dir C:\\ `\n b\n")

    assert parsed.escape == "`"
    assert parsed.nodes[1].args == ["dir C:\\  b"]


def test_a_byte_order_mark_is_skipped() -> None:
    assert args("\ufeffFROM a\n") == [["FROM", "a"]]


def test_heredocs_are_read_up_to_their_names() -> None:
    node = parse(b"FROM a\nRUN <<A cat <<-'B'\n1\nA\n\t2 $x\n\tB\nUSER z\n").nodes[1]

    assert [(h.name, h.expand, h.chomp, h.content) for h in node.heredocs] == [
        ("A", True, False, "1\n"),
        ("B", False, True, "\t2 $x\n"),
    ]
    assert (node.start, node.end) == (2, 6)


def test_heredocs_of_onbuild_belong_to_it() -> None:
    node = parse(b"FROM a\nONBUILD RUN <<E\nx\nE\n").nodes[1]

    assert [h.content for h in node.heredocs] == ["x\n"]
    assert node.args == ["RUN", "<<E"]


def test_json_form_takes_no_heredoc() -> None:
    assert len(parse(b'FROM a\nRUN ["x", "<<E"]\nUSER y\n').nodes) == 3


def test_comments_above_an_instruction_stay_with_it() -> None:
    nodes = parse(b"# syntax=x\n# one\n# two\nFROM a\n# three\n#\n# four\nRUN x\n").nodes

    assert nodes[0].comments == ["one", "two"]
    assert nodes[1].comments == ["four"]


@pytest.mark.parametrize(
    ("text", "message", "lines"),
    [
        ("", "file with no instructions", [0]),
        ("# only\n", "file with no instructions", [1]),
        ("FROM a\nRUN <<E\nx\n", "unterminated heredoc", [2, 3]),
        ("# escape=x\nFROM a\n", "invalid escape token 'x' does not match ` or \\", [0]),
        ("# escape=`\n# escape=`\nFROM a\n", "only one escape parser directive can be used", [1]),
        ("FROM a\nENV x\n", "ENV must have two arguments", [2]),
        ("FROM a\nENV a=b c\n", 'Syntax error - can\'t find = in "c". Must be of the form: name=value', [2]),
        ("FROM a\nCMD [1]\n", "when using JSON array syntax, arrays must be comprised of strings only", [2]),
    ],
)
def test_errors_name_their_lines(text: str, message: str, lines: list[int]) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text.encode())

    assert caught.value.message == message
    assert caught.value.locations == [tuple(Span(start=n, end=n) for n in lines)]


def test_lines_of_64_kib_are_refused() -> None:
    assert len(parse(b"FROM a\nRUN " + b"x" * (MAX_LINE - 5) + b"\n").nodes) == 2
    with pytest.raises(DockerfileError, match="dockerfile line greater than max allowed size of 65535"):
        parse(b"FROM a\nRUN " + b"x" * MAX_LINE + b"\n")


def test_a_huge_file_is_refused_at_once() -> None:
    with pytest.raises(DockerfileError, match=f"larger than the allowed {MAX_SIZE} bytes"):
        parse(b"FROM a\n" * (50 << 17))


def test_onbuild_does_not_nest_for_ever() -> None:
    with pytest.raises(DockerfileError, match="Chaining ONBUILD"):
        parse_node("ONBUILD " * 1000 + "RUN x", "\\", None)


def test_a_line_reader_keeps_line_ends_and_invalid_bytes() -> None:
    reader = LineReader(b"a\r\n\xff")

    assert [reader.next(), reader.next(), reader.next()] == ["a\r\n", "\udcff", None]
    assert trim_end("a\r\n") == "a"
    assert is_comment("  # x")
    assert trim_continuation("a \\  ", "\\") == ("a ", False)
    assert trim_continuation("\\", "\\") == ("", False)
    assert trim_continuation("a", "\\") == ("a", True)
