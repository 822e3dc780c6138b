"""Stages, and the lint rules that look at single instructions."""

import pytest

from services.frontend.core.dockerfile import rules
from services.frontend.core.dockerfile.linter import Linter, LintOptions, LintWarning, parse_lint_options
from services.frontend.core.dockerfile.parser import parse
from services.frontend.core.dockerfile.stages import MAX_INSTRUCTIONS, Stages, parse_stages
from services.frontend.core.failure import DockerfileError, line_spans


def stages(text: str, linter: Linter | None = None) -> Stages:
    return parse_stages(parse(text.encode()), linter or Linter())


def linted(text: str, options: str = "experimental=all") -> list[str]:
    found: list[LintWarning] = []
    stages(text, Linter(options=parse_lint_options(options), warn=found.append))
    return [warning.short for warning in found]


def test_instructions_belong_to_the_from_above_them() -> None:
    found = stages("ARG G=1\nFROM a AS One\nRUN x\nFROM --platform=p b\nUSER y\n")

    assert [len(a.declarations) for a in found.global_args] == [1]
    assert [(s.name, s.base, s.platform, len(s.commands)) for s in found.stages] == [("one", "a", "", 1), ("", "b", "p", 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RUN x", "no build stage in current context"),
        ("FROM", "dockerfile parse error on line 1: FROM requires either one or three arguments"),
        ("FROM a b c", "dockerfile parse error on line 1: FROM requires either one or three arguments"),
        (
            "FROM a AS 1",
            'dockerfile parse error on line 1: invalid name for build stage: "1", name can\'t start with a number or contain symbols',
        ),
    ],
)
def test_mistakes_carry_the_line(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        stages(text)

    assert caught.value.message == message
    assert caught.value.locations == [line_spans(1, 1)]


def test_comments_describe_stages_and_args() -> None:
    found = stages("# one the first\nFROM a AS one\n# Q what it is\nARG Q\n")

    assert found.stages[0].description == "the first"


def test_casing_and_descriptions_are_checked() -> None:
    assert linted("# bad\nfrom a AS One\nMAINTAINER x\n") == [
        "StageNameCasing: Stage name 'One' should be lowercase (line 2)",
        "FromAsCasing: 'AS' and 'from' keywords' casing do not match (line 2)",
        "InvalidDefinitionDescription: Comment for FROM should follow the format: `# one <description>` (line 2)",
        "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 3)",
    ]


def test_a_comment_may_switch_a_rule_off_for_one_instruction() -> None:
    assert linted("FROM a\n# check=skip=MaintainerDeprecated\nMAINTAINER x\nMAINTAINER y\n", "") == [
        "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 4)"
    ]


def test_lint_options_are_read() -> None:
    assert parse_lint_options("skip=A, B;error=true") == LintOptions(skip=frozenset("AB"), error=True)
    assert parse_lint_options(" skip=all;experimental=all ").skip_all
    for text, message in (
        ("foo", 'invalid check option "foo"'),
        ("foo=1", 'invalid check option "foo"'),
        ("error=x", 'failed to parse check option "error=x": strconv.ParseBool: parsing "x": invalid syntax'),
    ):
        with pytest.raises(DockerfileError) as caught:
            parse_lint_options(text)
        assert caught.value.message == message


def test_warnings_as_errors_name_the_rules() -> None:
    linter = Linter(options=LintOptions(error=True), warn=lambda warning: None)
    linter.check()
    linter.run(rules.UNDEFINED_VAR, (), "x")

    with pytest.raises(DockerfileError, match="lint violation found for rules: UndefinedVar"):
        linter.check()


def test_too_many_instructions_are_refused() -> None:
    with pytest.raises(DockerfileError, match="instructions is larger"):
        stages("FROM a\n" + "USER x\n" * MAX_INSTRUCTIONS)
