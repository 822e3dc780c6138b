"""ARGs before the first FROM, and the automatic ones (dockerfile2llb/platform.go, convert.go buildMetaArgs)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from services.frontend.core.dockerfile.commands import Arg, ArgDeclaration
from services.frontend.core.dockerfile.shell_words import WordRules, expand
from services.frontend.core.failure import Location, located
from services.frontend.core.to_llb.outline_capture import ArgInfo
from shared.llb import Env, env_with
from shared.model import Platform, format_platform


def automatic_args(build: Platform, target: Platform, build_args: Mapping[str, str], stage: str) -> Env:
    """BUILDPLATFORM … TARGETSTAGE; build args override them."""
    values = {
        "BUILDPLATFORM": format_platform(build),
        "BUILDOS": build.os,
        "BUILDOSVERSION": build.os_version,
        "BUILDARCH": build.architecture,
        "BUILDVARIANT": build.variant,
        "TARGETPLATFORM": format_platform(target, full=True),
        "TARGETOS": target.os,
        "TARGETOSVERSION": target.os_version,
        "TARGETARCH": target.architecture,
        "TARGETVARIANT": target.variant,
        "TARGETSTAGE": stage or "default",
    }
    return {key: build_args.get(key, value) for key, value in values.items()}


def declared_args(env: Env, args: Sequence[Arg], build_args: Mapping[str, str], rules: WordRules) -> tuple[Env, dict[str, ArgInfo]]:
    """The environment with the global ARGs added, and what is known about each of them."""
    infos: dict[str, ArgInfo] = {}
    for arg in args:
        for declaration in arg.declarations:
            with located(arg.location):
                info = _declare(declaration, arg.location, env, infos, build_args, rules)
            if info.declaration.value is not None:
                env = env_with(env, declaration.key, info.declaration.value)
            infos[declaration.key] = info
    return env, infos


def _declare(
    declaration: ArgDeclaration,
    location: Location,
    env: Env,
    infos: Mapping[str, ArgInfo],
    build_args: Mapping[str, str],
    rules: WordRules,
) -> ArgInfo:
    key = declaration.key
    if key in build_args:
        declaration = replace(declaration, value=build_args[key])
        return ArgInfo(declaration=declaration, location=location, value=build_args[key])
    if declaration.value is None:
        return ArgInfo(declaration=declaration, location=location)
    result = expand(declaration.value, env, rules)
    deps = set(result.matched)
    if key in deps:  # ARG A=${A}x: depends on what the earlier A depended on
        deps.discard(key)
        deps |= infos[key].deps if key in infos else set()
    declaration = replace(declaration, value=result.text)
    return ArgInfo(declaration=declaration, location=location, value=result.text, deps=frozenset(deps))
