"""Names of vertices: `[linux/arm64 build 2/7] RUN make` (dockerfile2llb/convert.go prefixCommand)."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from services.frontend.core.dockerfile.shell_words import WordRules, expand
from services.frontend.core.failure import DockerfileError
from services.frontend.core.to_llb.stage_state import StageState
from shared.model import Platform, format_platform, parse_specifier


def prefixed(stage: StageState, text: str, env: Mapping[str, str], platform: Platform | None) -> str:
    """The name of the next vertex of this stage; counts it. `platform` is shown when several are built, None = none is shown."""
    total = stage.command_total
    if total == 0:
        return text
    parts: list[str] = []
    if stage.prefix_platform and platform is not None:
        parts.append(format_platform(platform, full=True) + _cross_target(platform, env))
    if stage.shown_name:
        parts.append(stage.shown_name)
    stage.command_index += 1
    parts.append(f"{stage.command_index:>{len(str(total))}}/{total}")
    return f"[{' '.join(parts)}] " + ("ONBUILD " if stage.in_onbuild else "") + text


def shown_command(text: str, env: Mapping[str, str], rules: WordRules) -> str:
    """The text of an instruction with variables put in and the keyword in capitals."""
    with suppress(DockerfileError):
        text = expand(text, env, rules).text
    keyword, space, rest = text.partition(" ")
    return keyword.upper() + space + rest


def _cross_target(base: Platform, env: Mapping[str, str]) -> str:
    """`->arm64` where TARGET* variables say that the step compiles for another platform."""
    target = _target_of(env)
    if target is None:
        return ""
    target = replace(target, os=target.os or base.os, architecture=target.architecture or base.architecture).normalized()
    if target.os != base.os:
        return "->" + format_platform(target, full=True)
    if target.architecture != base.architecture:
        return "->" + target.architecture + (f"/{target.variant}" if target.variant else "")
    return ""


def _target_of(env: Mapping[str, str]) -> Platform | None:
    found: dict[str, str] = {}
    for key, value in env.items():
        match key:
            case "TARGETPLATFORM":
                try:
                    return parse_specifier(value)
                except ValueError:
                    continue
            case "TARGETOS":
                found["os"] = value
            case "TARGETARCH":
                found["architecture"] = value
            case "TARGETVARIANT":
                found["variant"] = value
    if not found:
        return None
    return Platform(os=found.get("os", ""), architecture=found.get("architecture", ""), variant=found.get("variant", ""))
