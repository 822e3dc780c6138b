"""WORKDIR (dockerfile2llb/convert.go dispatchWorkdir)."""

from services.frontend.core.dockerfile import rules
from services.frontend.core.dockerfile.commands import Workdir
from services.frontend.core.dockerfile.linter import Linter
from services.frontend.core.failure import DockerfileError
from services.frontend.core.to_llb.history import commit
from services.frontend.core.to_llb.names import prefixed, shown_command
from services.frontend.core.to_llb.owners import parse_owner
from services.frontend.core.to_llb.setting import Setting
from services.frontend.core.to_llb.stage_state import StageState
from services.frontend.core.to_llb.workdirs import is_absolute_for, normalize_workdir, to_slash
from shared.llb import FileStep, MkDir
from shared.llb.go_text import quote


def set_workdir(stage: StageState, path: str) -> str:
    """Changes the directory of the config and the state; returns it with slashes."""
    try:
        workdir = normalize_workdir(stage.image.config.working_dir, path, stage.os)
    except DockerfileError as error:
        raise error.prefixed("normalizing workdir") from None
    stage.image.config.working_dir = workdir
    workdir = to_slash(workdir, stage.os)
    stage.state = stage.state.with_directory(workdir)
    return workdir


def dispatch_workdir(stage: StageState, command: Workdir, setting: Setting, linter: Linter) -> None:
    """Makes the directory too, as a layer of its own, unless it is the root."""
    if not stage.workdir_set and not is_absolute_for(command.path, stage.os):
        message = f"Relative workdir {quote(command.path)} can have unexpected results if the base image changes"
        linter.run(rules.WORKDIR_RELATIVE_PATH, command.location, message)
    stage.workdir_set = True
    workdir = set_workdir(stage, command.path)
    if workdir != "/":
        env = stage.state.env
        user = stage.image.config.user
        action = MkDir(
            path=workdir,
            mode=0o755,
            make_parents=True,
            owner=parse_owner(user) if user else None,
            timestamp=-1 if setting.epoch is None else setting.epoch * 1_000_000_000,
        )
        name = prefixed(stage, shown_command(command.code, env, setting.words), env, stage.platform)
        constraints = setting.constraints(name, command.location, platform=stage.platform)
        stage.state = stage.state.file([FileStep(action=action)], constraints)
    commit(stage.image, f"WORKDIR {workdir}", setting.epoch, layer=workdir != "/")
