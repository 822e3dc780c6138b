"""Lint rules that look at more than one instruction (dockerfile2llb/validations.go)."""

import re
from collections.abc import Iterable, Mapping, Sequence

from services.frontend.core.dockerfile import rules
from services.frontend.core.dockerfile.commands import Arg, ArgDeclaration, Command
from services.frontend.core.dockerfile.linter import Linter
from services.frontend.core.dockerfile.shell_words import Expansion, WordRules, expand
from services.frontend.core.dockerfile.stages import Stage
from services.frontend.core.failure import DockerfileError, Location, nearest
from services.frontend.core.to_llb.global_args import declared_args
from services.frontend.core.to_llb.stage_state import Used
from shared.llb import Env
from shared.llb.go_text import quote
from shared.model import Platform, format_platform, parse_specifier
from shared.oci import parse_reference

NOT_ENVIRONMENT = frozenset(("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"))
"""ARGs that are settings and never become variables."""

_RESERVED = frozenset(("context", "scratch"))


def check_stage_names(stages: Sequence[Stage], linter: Linter) -> None:
    seen: set[str] = set()
    for stage in stages:
        if not stage.name:
            continue
        if stage.name in _RESERVED:
            message = f"Stage name should not use the same name as reserved stage {quote(stage.name)}"
            linter.run(rules.RESERVED_STAGE_NAME, stage.location, message)
        if stage.name in seen:
            message = f"Duplicate stage name {quote(stage.name)}, stage names should be unique"
            linter.run(rules.DUPLICATE_STAGE_NAME, stage.location, message)
        seen.add(stage.name)


def check_keyword_casing(stages: Sequence[Stage], linter: Linter) -> None:
    """All keywords in the case that most have."""
    keywords = [(s.keyword, s.location, s.commands) for s in stages]
    words = [word for keyword, _, commands in keywords for word in (keyword, *(c.name for c in commands))]
    lower = sum(word == word.lower() for word in words)
    upper = sum(word == word.upper() and word != word.lower() for word in words)
    for keyword, location, commands in keywords:
        for word, place in ((keyword, location), *((c.name, c.location) for c in commands)):
            _check_case(word, lower > upper, place, linter)


def _check_case(word: str, lower: bool, location: Location, linter: Linter) -> None:
    if word != (word.lower() if lower else word.upper()):
        case = "lowercase" if lower else "uppercase"
        message = f"Command '{word}' should match the case of the command majority ({case})"
        linter.run(rules.CONSISTENT_INSTRUCTION_CASING, location, message)


def check_default_bases(stages: Sequence[Stage], env: Env, args: Sequence[Arg], words: WordRules, linter: Linter) -> None:
    """Base names must be valid also when no build arg is given."""
    try:
        env, _ = declared_args(env, args, {}, words)
        for stage in stages:
            name = expand(stage.base, env, words).text
            if not _is_reference(name):
                message = f"Default value for ARG {stage.base} results in empty or invalid base image name"
                linter.run(rules.INVALID_DEFAULT_ARG_IN_FROM, stage.location, message)
    except DockerfileError:
        return  # the build itself will say so


def _is_reference(name: str) -> bool:
    try:
        parse_reference(name)
    except ValueError:
        return False
    return True


def check_from_args(known: Iterable[str], unmatched: Iterable[str], location: Location, linter: Linter) -> None:
    known = set(known)
    for name in unmatched:
        if name in known:
            continue
        suggestion = nearest(name, known)
        message = f"FROM argument '{name}' is not declared" + (f" (did you mean {suggestion}?)" if suggestion else "")
        linter.run(rules.UNDEFINED_ARG_IN_FROM, location, message)


def check_redundant_platform(text: str, result: Expansion, env: Env, location: Location, linter: Linter) -> None:
    if list(result.matched) == ["TARGETPLATFORM"] and not result.unmatched and result.text == env.get("TARGETPLATFORM"):
        message = f"Setting platform to predefined {text} in FROM is redundant as this is the default behavior"
        linter.run(rules.REDUNDANT_TARGET_PLATFORM, location, message)


def check_constant_platform(name: str, result: Expansion, location: Location, linter: Linter) -> None:
    if result.matched or result.unmatched:
        return
    try:
        platform = parse_specifier(result.text)
    except ValueError:
        return
    if platform.os not in name and platform.architecture not in name:
        message = f"FROM --platform flag should not use constant value {quote(result.text)}"
        linter.run(rules.FROM_PLATFORM_FLAG_CONST_DISALLOWED, location, message)


def check_base_platform(name: str, expected: Platform, actual: Platform, location: Location, linter: Linter) -> None:
    if (expected.os, expected.architecture) == (actual.os, actual.architecture):
        return
    wanted, got = (quote(format_platform(p.normalized(), full=True)) for p in (expected, actual))
    message = f"Base image {name} was pulled with platform {got}, expected {wanted} for current build"
    linter.run(rules.INVALID_BASE_IMAGE_PLATFORM, location, message)


def check_variables(
    command: Command, declared: Sequence[ArgDeclaration], env: Mapping[str, str], unmatched: Iterable[str], linter: Linter
) -> None:
    """Variables that an instruction uses and nobody set."""
    keys = {arg.key for arg in declared} | NOT_ENVIRONMENT
    for name in unmatched:
        if name in keys:
            continue
        suggestion = nearest(name, env)
        message = f"Usage of undefined variable '${name}'" + (f" (did you mean ${suggestion}?)" if suggestion else "")
        linter.run(rules.UNDEFINED_VAR, command.location, message)


def check_used_once(command: Command, used: Used, linter: Linter) -> None:
    """Reported at the earlier place: that is the one without effect."""
    if used.location is not None:
        message = f"Multiple {command.name} instructions should not be used in the same stage because only the last one will be used"
        linter.run(rules.MULTIPLE_INSTRUCTIONS_DISALLOWED, used.location, message)
    used.location = command.location


_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE | re.ASCII
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE | re.ASCII)


def check_secret_name(keyword: str, key: str, location: Location, linter: Linter) -> None:
    if _SECRET.search(key) and not _NO_SECRET.search(key):
        message = f"Do not use ARG or ENV instructions for sensitive data ({keyword} {quote(key)})"
        linter.run(rules.SECRETS_USED_IN_ARG_OR_ENV, location, message)
