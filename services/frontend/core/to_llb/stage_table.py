"""Stages with their names, platforms and mutual needs (convert.go buildDispatchStates, buildStageDependencyGraph)."""

from collections.abc import Iterable, Sequence

from services.frontend.core.context import Contexts
from services.frontend.core.dockerfile.commands import Add, Command, Copy, Run, Workdir
from services.frontend.core.dockerfile.linter import Linter
from services.frontend.core.dockerfile.shell_words import Expansion, WordRules, expand
from services.frontend.core.dockerfile.stages import Stage
from services.frontend.core.failure import DockerfileError, located
from services.frontend.core.named_context import NamedContext, find_named
from services.frontend.core.to_llb.checks import check_constant_platform, check_from_args, check_redundant_platform
from services.frontend.core.to_llb.outline_capture import ArgInfo, OutlineCapture
from services.frontend.core.to_llb.setting import Setting
from services.frontend.core.to_llb.stage_state import StageState, StageTable, Step
from shared.model import Platform, parse_specifier


def named_context(stage: StageState, name: str, platform: Platform | None, setting: Setting, contexts: Contexts) -> NamedContext | None:
    """What replaces a stage or image of this name, if anything does."""
    if name.lower() in ("scratch", "context"):
        return None
    wanted = platform or (None if setting.implicit_target else setting.target_platform)
    return find_named(contexts, name, wanted, stage.follow_paths)


def build_table(setting: Setting, contexts: Contexts, stages: Sequence[Stage], infos: dict[str, ArgInfo]) -> None:
    """Registers all stages, base names and platforms expanded. Raises DockerfileError with the place."""
    for number, stage in enumerate(stages):
        linter = setting.linter.for_comments(stage.comments)
        base = _base_name(stage, setting, infos, linter)
        used = dict(base.matched)
        stage.base = base.text
        state = StageState(
            stage=stage,
            shown_name=stage.name,
            prefix_platform=setting.options.multi_platform,
            outline=OutlineCapture(all_args=dict(infos)),
        )
        if stage.platform:
            state.platform, matched = _platform(stage, setting, infos, linter)
            used |= matched
        if stage.name:
            state.named_context = named_context(state, stage.name, state.platform, setting, contexts)
            if state.named_context is not None:
                setting.table.add(state)
                state.base = None
                continue
        state.shown_name = stage.name or f"stage-{number}"
        setting.table.add(state)
        state.outline.use(used)
        state.command_total = _count(state)
        state.ignore_cache = setting.options.ignores_cache(stage.name)


def _known_args(setting: Setting, infos: dict[str, ArgInfo]) -> set[str]:
    return {*infos, *setting.global_args}


def _base_name(stage: Stage, setting: Setting, infos: dict[str, ArgInfo], linter: Linter) -> Expansion:
    with located(stage.location):
        result = expand(stage.base, setting.global_args, setting.words)
        check_from_args(_known_args(setting, infos), result.unmatched, stage.location, linter)
        if not result.text:
            raise DockerfileError(f"base name ({stage.base}) should not be blank")
    return result


def _platform(stage: Stage, setting: Setting, infos: dict[str, ArgInfo], linter: Linter) -> tuple[Platform, dict[str, None]]:
    env = setting.global_args
    with located(stage.location):
        try:
            result = expand(stage.platform, env, setting.words)
        except DockerfileError as error:
            raise error.prefixed("failed to process arguments for platform ") from None
        check_from_args(_known_args(setting, infos), result.unmatched, stage.location, linter)
        check_redundant_platform(stage.platform, result, env, stage.location, linter)
        check_constant_platform(stage.name, result, stage.location, linter)
        if not result.text:
            raise _suggested(DockerfileError(f"empty platform value from expression {stage.platform}"), result, env)
        try:
            return parse_specifier(result.text), result.matched
        except ValueError as error:
            failure = _suggested(DockerfileError(str(error)), result, env).at(stage.location)
            raise failure.prefixed(f"failed to parse platform {stage.platform}") from None


def _suggested(error: DockerfileError, result: Expansion, options: Iterable[str]) -> DockerfileError:
    """With a suggestion for the first variable that has one."""
    before = error.message
    for name in result.unmatched:
        error.suggesting(name, list(options))
        if error.message != before:
            break
    return error


def _count(state: StageState) -> int:
    """How many numbered vertices the stage has."""
    own = int(state.stage.base != "scratch" and state.base is None)
    return own + sum(isinstance(command, Add | Copy | Run | Workdir) for command in state.stage.commands)


def connect_stages(setting: Setting) -> None:
    """Finds which stage takes files from which. Raises DockerfileError for a circle."""
    table = setting.table
    for state in list(table.stages):
        for command in state.stage.commands:
            state.steps.append(add_step(state, command, table, setting.words))
    table.check_cycles()
    if len(table.stages) == 1:
        table.stages[0].shown_name = ""


def add_step(state: StageState, command: Command, table: StageTable, words: WordRules, *, onbuild: bool = False) -> Step:
    """The instruction with the stages it needs; images that it names become stages of their own."""
    table.count_step()
    step = Step(command=command, onbuild=onbuild)
    match command:
        case Copy(source_stage=name) if name:
            step.sources = [_copy_source(command, table, words)]
        case Run():
            step.sources = [_mount_source(mount.source_stage or "scratch", table) for mount in command.mounts]
    for source in step.sources:
        state.deps[source] = step
        if source.unregistered:
            table.add(source)
    return step


def _copy_source(command: Copy, table: StageTable, words: WordRules) -> StageState:
    name = command.source_stage
    if expand(name, {}, words).text != name:
        raise DockerfileError(
            "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround"
        )
    sign, digits = (name[:1], name[1:]) if name[:1] in ("+", "-") else ("", name)
    if digits.isdecimal() and digits.isascii() and len(digits) < 19:
        return table.by_index(-int(digits) if sign == "-" else int(digits))
    return table.by_name(name) or _image_stage(name, command)


def _image_stage(base: str, command: Command | None) -> StageState:
    location = command.location if command is not None else ()
    stage = Stage(name="", base=base, keyword="", platform="", code="", location=location)
    return StageState(stage=stage, unregistered=True)


def _mount_source(name: str, table: StageTable) -> StageState:
    found = table.by_name(name)
    if found is not None:
        return found
    if name != "scratch":
        return _image_stage(name, None)
    if table.scratch is None:  # one empty tree is as good as many
        table.scratch = _image_stage(name, None)
    return table.scratch
