"""Stages: FROM and the instructions below it (instructions/parse.go Parse)."""

import re
from dataclasses import dataclass, field

from services.frontend.core.dockerfile import rules
from services.frontend.core.dockerfile.commands import Arg, Command
from services.frontend.core.dockerfile.flags import FlagKind, parse_flags
from services.frontend.core.dockerfile.instructions import description, parse_command
from services.frontend.core.dockerfile.linter import Linter
from services.frontend.core.dockerfile.nodes import Node, ParsedFile
from services.frontend.core.failure import DockerfileError, Location
from services.frontend.core.go_text import SPACE
from shared.llb.go_text import quote

MAX_INSTRUCTIONS = 20_000
"""A bound of ours; a definition of that many operations is refused by every solver."""

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")


@dataclass(slots=True, kw_only=True)
class Stage:
    """One FROM. `name` in lower case, "" when it has none; `keyword` FROM as written; `base` not yet expanded."""

    name: str
    base: str
    keyword: str
    platform: str
    code: str
    location: Location
    comments: tuple[str, ...] | None = None
    description: str = ""
    commands: list[Command] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Stages:
    """All stages, and the ARGs before the first of them."""

    stages: list[Stage]
    global_args: list[Arg]


def parse_stages(parsed: ParsedFile, linter: Linter) -> Stages:
    """Raises DockerfileError with `dockerfile parse error on line N: `."""
    if len(parsed.nodes) > MAX_INSTRUCTIONS:
        raise DockerfileError(f"Dockerfile of {len(parsed.nodes)} instructions is larger than the allowed {MAX_INSTRUCTIONS}")
    result = Stages(stages=[], global_args=[])
    for node in parsed.nodes:
        try:
            item = parse_instruction(node, linter)
        except DockerfileError as error:
            raise error.at(node.location).prefixed(f"dockerfile parse error on line {node.start}") from None
        if isinstance(item, Stage):
            result.stages.append(item)
        elif result.stages:
            result.stages[-1].commands.append(item)
        elif isinstance(item, Arg):
            result.global_args.append(item)
        else:
            raise DockerfileError("no build stage in current context").at(node.location)
    return result


def parse_instruction(node: Node, linter: Linter) -> Stage | Command:
    """One node with the lint rules that look at its text. Raises DockerfileError, without the place."""
    keyword = node.keyword.lower()
    if keyword == "from":
        return _from(node, linter.for_comments(node.comments))
    if keyword == "maintainer":
        message = "Maintainer instruction is deprecated in favor of using label"
        linter.for_comments(node.comments).run(rules.MAINTAINER_DEPRECATED, node.location, message)
    command = parse_command(node)
    if isinstance(command, Arg):
        _check_description("ARG", [d.key for d in command.declarations], node, linter.for_comments(node.comments))
    return command


def _from(node: Node, linter: Linter) -> Stage:
    args = node.args
    if len(args) == 3 and args[2] != args[2].lower():
        linter.run(rules.STAGE_NAME_CASING, node.location, f"Stage name '{args[2]}' should be lowercase")
    if len(args) >= 3 and not _as_matches_from(node.keyword, args[1]):
        linter.run(rules.FROM_AS_CASING, node.location, f"'{args[1]}' and '{node.keyword}' keywords' casing do not match")
    name = _stage_name(args)
    flags = parse_flags(node.flags, {"platform": FlagKind.TEXT})
    if name:
        _check_description("FROM", [name], node, linter)
    return Stage(
        name=name,
        base=args[0],
        keyword=node.keyword,
        platform=flags.text("platform"),
        code=node.original.strip(SPACE),
        location=node.location,
        comments=tuple(node.comments) if node.comments is not None else None,
        description=description(node.comments, name),
    )


def _stage_name(args: list[str]) -> str:
    if len(args) == 3 and args[1].lower() == "as":
        name = args[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            shown = quote(args[2])
            raise DockerfileError(f"invalid name for build stage: {shown}, name can't start with a number or contain symbols")
        return name
    if len(args) != 1:
        raise DockerfileError("FROM requires either one or three arguments")
    return ""


def _as_matches_from(keyword: str, word: str) -> bool:
    if keyword == keyword.lower():
        return word == word.lower()
    return keyword != keyword.upper() or word == word.upper()


def _check_description(keyword: str, names: list[str], node: Node, linter: Linter) -> None:
    if not node.comments or not names or node.comments[-1].split(" ", 1)[0] in names:
        return
    example = names[0] if len(names) == 1 else "<arg_key>"
    message = f"Comment for {keyword} should follow the format: `# {example} <description>`"
    linter.run(rules.INVALID_DEFINITION_DESCRIPTION, node.location, message)
