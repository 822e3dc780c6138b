"""Whatever bytes come: the frontend answers or refuses, soon, and the same way each time."""

import string

from hypothesis import given
from hypothesis import strategies as st

from services.frontend.core.build import Frontend, Order
from services.frontend.core.dockerfile.linter import Linter
from services.frontend.core.dockerfile.nodes import Node
from services.frontend.core.dockerfile.parser import parse
from services.frontend.core.dockerfile.shell_words import WordRules, expand, split
from services.frontend.core.dockerfile.stages import parse_stages
from services.frontend.core.failure import DockerfileError
from shared.errors import InvalidInput
from shared.llb import decode_definition, encode_definition
from shared.model import Platform
from shared.pb import ops_pb2 as pb
from tests.kit.dockerfile_images import fake_images
from tests.kit.fake_bridge import FakeBridge

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


def run(data: bytes) -> None:
    """Parses and converts; only a DockerfileError may come out."""
    files = {"Dockerfile": data, "x": b"y"}
    bridge = FakeBridge(locals_={"context": files, "dockerfile": files}, images=fake_images())
    amd64 = Platform(os="linux", architecture="amd64")
    order = Order(options={}, session="s", build_platform=amd64, new_id=lambda: "id", warn=lambda entrypoint, warning: None)
    try:
        bridge.run(Frontend(order).run())
    except (DockerfileError, InvalidInput):
        return
    for solved in bridge.solved:
        encoded = encode_definition(solved.definition)
        assert content(encode_definition(decode_definition(encoded))) == content(encoded)


def content(encoded: bytes) -> tuple[list[bytes], bytes, list[tuple[str, bytes]], bytes]:
    """What a definition says: its ops in any order (inputs come first in all of them), the last one, and what is told about each."""
    definition = pb.Definition.FromString(encoded)
    ops = list(getattr(definition, "def"))
    told = sorted((digest, about.SerializeToString(deterministic=True)) for digest, about in definition.metadata.items())
    return sorted(ops), ops[-1], told, definition.Source.SerializeToString(deterministic=True)


@given(st.binary(max_size=400))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        parse_stages(parse(data), Linter())
    except DockerfileError as error:
        assert error.message


@given(FILES)
def test_any_instructions_are_converted_or_refused(data: bytes) -> None:
    run(data)


@given(FILES)
def test_an_instruction_written_again_is_read_the_same(data: bytes) -> None:
    try:
        nodes = parse(data).nodes
    except DockerfileError:
        return
    for node in nodes:
        if node.heredocs or (node.sub is not None and node.sub.heredocs):
            continue
        again = parse(b"\n" + node.original.encode("utf-8", "surrogateescape")).nodes  # a file's first bytes may be a byte order mark
        assert [shape(n) for n in again] == [shape(node)]


def shape(node: Node) -> tuple[object, ...]:
    return node.keyword, node.args, node.flags, node.json


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
