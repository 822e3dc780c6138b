"""Whatever bytes come: the frontend answers or refuses, soon, and the same way each time."""

import string

from hypothesis import example, given
from hypothesis import strategies as st

from services.frontend.core.dockerfile.shell_words import WordRules, expand, split
from services.frontend.core.failure import DockerfileError
from shared.errors import InvalidInput
from shared.llb import decode_definition
from tests.kit.dockerfile_checks import converted_or_refused, parsed_or_refused, same_when_written

KEYWORDS = [
    "FROM",
    "RUN",
    "COPY",
    "ADD",
    "ENV",
    "ARG",
    "LABEL",
    "WORKDIR",
    "USER",
    "CMD",
    "ENTRYPOINT",
    "SHELL",
    "EXPOSE",
    "VOLUME",
    "ONBUILD",
    "HEALTHCHECK",
    "STOPSIGNAL",
    "MAINTAINER",
]
PIECES = st.sampled_from(
    [
        "alpine",
        "scratch",
        "AS",
        "a",
        "b",
        "$A",
        "${A:-$B}",
        "${",
        "}",
        "'",
        '"',
        "\\",
        "`",
        "<<E",
        "E",
        "<<-'E'",
        "=",
        "x=y",
        "[",
        '["p"]',
        "--from=a",
        "--mount=type=cache,target=/c",
        "--chmod=u+x",
        "/",
        ".",
        "..",
        "*",
        "80-90/tcp",
        "#",
        "\t",
        "\ufeff",
        "é",
        "\x00",
    ]
)
LINES = st.builds(lambda k, words: " ".join([k, *words]), st.sampled_from([*KEYWORDS, "from", "X", ""]), st.lists(PIECES, max_size=6))
FILES = st.lists(LINES, max_size=12).map(lambda lines: "\n".join(["FROM alpine AS a", *lines, "E"]).encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=400))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    parsed_or_refused(data)


@given(FILES)
def test_any_instructions_are_converted_or_refused(data: bytes) -> None:
    converted_or_refused(data)


@example(b'FROM a\nCOPY ["a b", "c \x0b/"]\n')
@given(FILES)
def test_a_file_written_from_its_tree_is_read_the_same(data: bytes) -> None:
    same_when_written(data)


@given(st.binary(max_size=200))
def test_any_tree_written_as_a_file_is_read_the_same(data: bytes) -> None:
    same_when_written(data)


@given(
    st.text(alphabet=string.printable + "éß\u00a0", max_size=60),
    st.dictionaries(st.sampled_from("ABC"), st.text(max_size=10)),
    st.booleans(),
)
def test_words_are_expanded_or_refused(text: str, env: dict[str, str], raw: bool) -> None:
    rules = WordRules(raw_quotes=raw, raw_escapes=raw, skip_unset=raw)
    try:
        first = expand(text, env, rules).text
        assert expand(text, env, rules).text == first
        split(text, env, rules)
    except DockerfileError as error:
        assert error.message.startswith("failed to process ")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_definition_or_refused(data: bytes) -> None:
    try:
        definition = decode_definition(data)
    except InvalidInput:
        return
    assert definition.result is None or definition.result.digest in definition.ops
