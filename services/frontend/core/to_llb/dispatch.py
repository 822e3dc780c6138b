"""One instruction after the other into a StageState (dockerfile2llb/convert.go dispatch)."""

from collections.abc import Callable
from dataclasses import replace

from services.frontend.core.dockerfile import commands as c
from services.frontend.core.dockerfile.linter import Linter
from services.frontend.core.dockerfile.shell_words import WordRules, expand, is_plain
from services.frontend.core.failure import DockerfileError
from services.frontend.core.to_llb import configure
from services.frontend.core.to_llb.checks import check_variables
from services.frontend.core.to_llb.copying import CopyOrder, dispatch_copy
from services.frontend.core.to_llb.expose import dispatch_expose
from services.frontend.core.to_llb.running import dispatch_run
from services.frontend.core.to_llb.setting import Setting
from services.frontend.core.to_llb.stage_state import StageState, Step, used_path
from services.frontend.core.to_llb.workdir import dispatch_workdir
from shared.llb.go_text import quote


def dispatch(stage: StageState, step: Step, setting: Setting) -> None:
    """Carries out one instruction. Raises DockerfileError, without the place."""
    linter = setting.linter.for_comments(step.command.comments)
    stage.in_onbuild = step.onbuild
    command = step.command
    if not isinstance(command, c.Arg):
        command = command.expanded(_expander(stage, command, setting.words, linter))
    if isinstance(command, c.Transfer) and command.contents:
        words = replace(setting.words, escape="\\", skip_quotes=True)
        command = command.with_contents(_expander(stage, command, words, linter))
    _carry_out(stage, command, step.sources, setting, linter)


def _expander(stage: StageState, command: c.Command, words: WordRules, linter: Linter) -> Callable[[str], str]:
    def expand_word(word: str) -> str:
        if is_plain(word):
            return word
        result = expand(word, stage.state.env, words)
        if result.unmatched:
            check_variables(command, stage.build_args, stage.state.env, result.unmatched, linter)
        return result.text

    return expand_word


def _carry_out(stage: StageState, command: c.Command, sources: list[StageState], setting: Setting, linter: Linter) -> None:
    match command:
        case c.Run():
            dispatch_run(stage, command, sources, setting)
        case c.Copy():
            _copy(stage, command, sources, setting, linter)
        case c.Add():
            _add(stage, command, setting, linter)
        case c.Workdir():
            dispatch_workdir(stage, command, setting, linter)
        case c.Expose():
            dispatch_expose(stage, command, setting, linter)
        case c.Arg():
            configure.arg(stage, command, setting, linter)
        case _:
            configure.configure(stage, command, setting, linter)


def _add(stage: StageState, command: c.Add, setting: Setting, linter: Linter) -> None:
    order = CopyOrder(
        command=command,
        source=setting.build_context,
        ignored=setting.ignored,
        is_add=True,
        keep_git_dir=command.keep_git_dir,
        checksum=command.checksum,
        unpack=command.unpack,
    )
    dispatch_copy(stage, order, setting, linter)
    for source in command.sources:
        if not source.startswith(("http://", "https://")):
            stage.context_paths[used_path(source)] = None


def _copy(stage: StageState, command: c.Copy, sources: list[StageState], setting: Setting, linter: Linter) -> None:
    source_stage = sources[0] if sources else None
    if source_stage is None:
        order = CopyOrder(command=command, source=setting.build_context, ignored=setting.ignored, parents=command.parents)
        paths = stage.context_paths
    else:
        if not source_stage.dispatched:
            names = quote(command.source_stage), quote(stage.shown_name)
            raise DockerfileError("cannot copy from stage {}, it needs to be defined before current stage {}".format(*names))
        order = CopyOrder(command=command, source=source_stage.state, parents=command.parents)
        paths = source_stage.paths
    dispatch_copy(stage, order, setting, linter)
    for source in command.sources:
        paths[used_path(source)] = None
