"""A Dockerfile to a stage that is built (dockerfile2llb/convert.go toDispatchState)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from services.frontend.core.context import Contexts
from services.frontend.core.dockerfile import rules
from services.frontend.core.dockerfile.directives import find_directive
from services.frontend.core.dockerfile.linter import Linter, LintOptions, WarnFunction, parse_lint_options
from services.frontend.core.dockerfile.nodes import ParsedFile
from services.frontend.core.dockerfile.parser import parse
from services.frontend.core.dockerfile.shell_words import Budget, WordRules
from services.frontend.core.dockerfile.stages import Stage, parse_stages
from services.frontend.core.failure import DockerfileError, line_spans, located
from services.frontend.core.image import DEFAULT_PATH
from services.frontend.core.requests import Asking
from services.frontend.core.to_llb.base_images import resolve_bases
from services.frontend.core.to_llb.checks import check_default_bases, check_keyword_casing, check_stage_names
from services.frontend.core.to_llb.configure import set_user
from services.frontend.core.to_llb.dispatch import dispatch
from services.frontend.core.to_llb.epoch import resolve_epoch
from services.frontend.core.to_llb.global_args import automatic_args, declared_args
from services.frontend.core.to_llb.outline_capture import ArgInfo
from services.frontend.core.to_llb.sbom import Scans, mark_scans, wanted_scans
from services.frontend.core.to_llb.setting import Setting
from services.frontend.core.to_llb.stage_state import StageState, StageTable, follow_paths
from services.frontend.core.to_llb.stage_table import build_table, connect_stages
from services.frontend.core.to_llb.workdir import set_workdir
from shared.fsutil import PatternMatcher
from shared.llb import Env, Later, MarshalDefaults, ProxyEnv, SourceMap, env_with, env_without, new_state
from shared.llb.go_text import quote
from shared.model import Platform


@dataclass(slots=True, kw_only=True)
class Conversion:
    """What is to be converted, and for which platform (None = that of the builders). `all_stages`: not only those needed."""

    contexts: Contexts
    source_map: SourceMap
    platform: Platform | None
    new_id: Callable[[], str]
    warn: WarnFunction | None = None
    all_stages: bool = False
    target: str | None = None
    build_args: dict[str, str] = field(default_factory=dict)
    parse: Callable[[bytes], ParsedFile] = parse  # one that remembers, where several platforms read the same file


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """The stage that was asked for, and what its definition is to be marshaled with."""

    stage: StageState
    setting: Setting
    defaults: MarshalDefaults
    scans: Scans


def convert(conversion: Conversion) -> Asking[Converted]:
    """Raises DockerfileError with the places it speaks of."""
    data = conversion.source_map.data
    if not data:
        raise DockerfileError("the Dockerfile cannot be empty")
    linter = make_linter(data, conversion)
    parsed = conversion.parse(data)
    for line in parsed.empty_continuations:
        linter.run(rules.NO_EMPTY_CONTINUATION, line_spans(line, line), "Empty continuation line")
    found = parse_stages(parsed, linter)
    if not found.stages:
        raise DockerfileError("dockerfile contains no stages to build")
    check_stage_names(found.stages, linter)
    check_keyword_casing(found.stages, linter)
    words = WordRules(escape=parsed.escape, budget=Budget())
    target_name = conversion.contexts.options.target
    platform = conversion.platform or conversion.contexts.options.build_platform
    env = automatic_args(conversion.contexts.options.build_platform, platform, conversion.build_args, target_name or found.stages[-1].name)
    check_default_bases(found.stages, env, found.global_args, words, linter)
    env, infos = declared_args(env, found.global_args, conversion.build_args, words)
    env, epoch = yield from _epoch(conversion, found.stages, env, words)
    setting = _setting(conversion, env, words, platform, linter, epoch)
    stage = yield from _build(setting, found.stages, infos, conversion)
    return Converted(stage=stage, setting=setting, defaults=_defaults(conversion, platform), scans=wanted_scans(stage, setting))


def make_linter(data: bytes, conversion: Conversion) -> Linter:
    """With the options given by build arg, else those of the file."""
    options: LintOptions | None = conversion.contexts.options.lint
    if options is None:
        directive = find_directive("check", data)
        try:
            options = parse_lint_options(directive.value.partition(" ")[0] if directive is not None else "")
        except DockerfileError as error:
            raise error.prefixed("failed to parse check options") from None
    return Linter(options=options, warn=conversion.warn)


def _defaults(conversion: Conversion, platform: Platform) -> MarshalDefaults:
    return MarshalDefaults(platform=platform, local_unique_id=conversion.contexts.defaults.local_unique_id)


def _epoch(conversion: Conversion, stages: list[Stage], env: Env, words: WordRules) -> Asking[tuple[Env, int | None]]:
    key = "SOURCE_DATE_EPOCH"
    given = conversion.build_args.get(key)
    value = env.get(key) or None if given is None else given
    if value is None:
        return env, None
    epoch = yield from resolve_epoch(value, conversion.contexts, stages, env, conversion.build_args, words)
    shown = "" if epoch is None else str(epoch)
    if key in conversion.build_args:
        conversion.build_args.pop(key)
        if shown:
            conversion.build_args[key] = shown
    if key in env:
        env = env_with(env, key, shown) if shown else env_without(env, key)
    return env, epoch


def _setting(conversion: Conversion, env: Env, words: WordRules, platform: Platform, linter: Linter, epoch: int | None) -> Setting:
    context_output = Later()
    return Setting(
        options=conversion.contexts.options,
        build_args=conversion.build_args,
        global_args=env,
        words=words,
        shown_words=replace(words, raw_quotes=True, skip_unset=True),
        target_platform=platform,
        implicit_target=conversion.platform is None,
        table=StageTable(),
        linter=linter,
        source_map=conversion.source_map,
        new_id=conversion.new_id,
        context_output=context_output,
        build_context=new_state(context_output),
        proxy_env=_proxy_env(conversion.build_args),
        epoch=epoch,
    )


_PROXIES = {"http_proxy": "http", "https_proxy": "https", "ftp_proxy": "ftp", "no_proxy": "no", "all_proxy": "all"}


def _proxy_env(build_args: Mapping[str, str]) -> ProxyEnv | None:
    found = {_PROXIES[key.lower()]: build_args[key] for key in sorted(build_args) if key.lower() in _PROXIES}
    return ProxyEnv(**found) if found else None


def _build(setting: Setting, stages: list[Stage], infos: dict[str, ArgInfo], conversion: Conversion) -> Asking[StageState]:
    contexts = conversion.contexts
    build_table(setting, contexts, stages, infos)
    target = _target(setting)
    connect_stages(setting)
    needed = yield from resolve_bases(setting, contexts, target, all_stages=conversion.all_stages)
    patterns = yield from contexts.ignore_patterns()
    setting.ignored = _matcher(patterns)
    used: dict[str, None] = {}
    for stage in dict.fromkeys(setting.table.stages):
        if conversion.all_stages or (stage in needed and not stage.dispatched):
            _build_stage(stage, setting)
            used |= stage.context_paths
    target.paths["/"] = None
    target.image.config.labels.update(setting.options.labels)
    setting.linter.check()
    context = yield from contexts.main_context(follow_paths(used))
    setting.context_output.set(context.output)
    _finish_platform(target, setting)
    return target


def _matcher(patterns: list[str]) -> PatternMatcher | None:
    try:
        return PatternMatcher(patterns) if patterns else None
    except ValueError as error:
        raise DockerfileError(str(error)) from None


def _target(setting: Setting) -> StageState:
    table, name = setting.table, setting.options.target
    if not name:
        return table.stages[-1]
    target = table.by_name(name)
    if target is None:
        raise DockerfileError(f"target stage {quote(name)} could not be found").suggesting(name, table.names())
    return target


def _build_stage(stage: StageState, setting: Setting) -> None:
    """What the base image says, then one instruction after the other."""
    stage.inherit()
    stage.dispatched = True
    if stage.platform is None:
        stage.platform = setting.target_platform
    config = stage.image.config
    if not any(variable.partition("=")[0] == "PATH" for variable in config.env) and stage.os != "windows":
        config.env.append("PATH=" + DEFAULT_PATH)
    for variable in config.env:
        key, _, value = variable.partition("=")
        stage.state = stage.state.with_env(key, value)
    if setting.options.hostname:
        stage.state = stage.state.with_hostname(setting.options.hostname)
    with located(stage.stage.location):
        if config.working_dir:
            set_workdir(stage, config.working_dir)
        if config.user:
            set_user(stage, config.user)
    stage.state = stage.state.with_network(setting.options.network)
    for step in stage.steps:
        with located(step.command.location):
            dispatch(stage, step, setting)
    mark_scans(stage, setting)


def _finish_platform(target: StageState, setting: Setting) -> None:
    """The config's platform is the one that was asked for, normalized."""
    image, wanted = target.image, setting.target_platform
    if not setting.implicit_target:
        have = image.platform
        same = (wanted.os, wanted.architecture) == (have.os, have.architecture)
        image.platform = Platform(
            os=wanted.os,
            architecture=wanted.architecture,
            variant=wanted.variant if wanted.variant or not same else have.variant,
            os_version=wanted.os_version if wanted.os_version or not same else have.os_version,
            os_features=wanted.os_features or have.os_features,
        )
    image.platform = image.platform.normalized()
