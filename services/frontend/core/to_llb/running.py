"""RUN (dockerfile2llb/convert.go dispatchRun)."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.frontend.core.dockerfile.commands import ArgDeclaration, Run
from services.frontend.core.dockerfile.heredoc import chomp, is_heredoc
from services.frontend.core.dockerfile.mounts import MountType
from services.frontend.core.failure import DockerfileError
from services.frontend.core.go_text import SPACE, plain_list
from services.frontend.core.to_llb.configure import with_shell
from services.frontend.core.to_llb.history import commit
from services.frontend.core.to_llb.names import prefixed, shown_command
from services.frontend.core.to_llb.run_mounts import collect_mounts
from services.frontend.core.to_llb.setting import Setting
from services.frontend.core.to_llb.stage_state import StageState
from shared.llb import (
    Constraints,
    Env,
    FileStep,
    MkFile,
    NetMode,
    Process,
    RunOptions,
    SecurityMode,
    TreeMount,
    env_with,
    join_path,
    scratch,
)

PIPES = "/dev/pipes/"


@dataclass(frozen=True, slots=True, kw_only=True)
class _CommandLine:
    """Arguments before the shell is put in front; `name` as shown; `script` a heredoc to be mounted and run."""

    args: tuple[str, ...]
    name: str
    script: TreeMount | None = None


def dispatch_run(stage: StageState, command: Run, sources: list[StageState], setting: Setting) -> None:
    """Raises DockerfileError, without the place."""
    options = setting.options
    stage.paths["/"] = None  # a process can read everything
    line = _command_line(stage, command)
    args = tuple(with_shell(stage.image, line.args)) if command.shell_form else line.args
    mounts = collect_mounts(stage, command, sources, setting)
    if command.devices:
        raise DockerfileError("device feature is only supported in Dockerfile frontend 1.14.0-labs or later")
    env = stage.state.env
    shown = shown_command(line.name, _with_masks(command, env), setting.shown_words)
    constraints = Constraints(
        ignore_cache=stage.ignore_cache,
        description={
            "com.docker.dockerfile.v1.command": command.code,
            "llb.customname": prefixed(stage, shown, env, stage.state.platform),
        },
        resources=options.resources,
        places=setting.places(command.location),
    )
    shm = (TreeMount(target="/dev/shm", tmpfs_size=options.shm_size),) if options.shm_size > 0 else ()
    script = (line.script,) if line.script is not None else ()
    run_options = RunOptions(
        mounts=(*script, *mounts.trees, *shm),
        secrets=tuple(mounts.secrets),
        ssh=tuple(mounts.ssh),
        proxy_env=setting.proxy_env,
    )
    stage.state = stage.state.run(_process(stage, command, args, setting), run_options, constraints)
    text = "RUN " + _history_text(args, stage.build_args, env)
    commit(stage.image, text, setting.epoch, layer=True, marked=True)


def _process(stage: StageState, command: Run, args: tuple[str, ...], setting: Setting) -> Process:
    options = setting.options
    network = {"none": NetMode.NONE, "host": NetMode.HOST}.get(command.network, stage.state.process.network)
    return stage.state.process.changed(
        args=args,
        network=network,
        security=SecurityMode.INSECURE if command.security == "insecure" else SecurityMode.SANDBOX,
        extra_hosts=options.extra_hosts,
        ulimits=options.ulimits,
        cgroup_parent=options.cgroup_parent,
    )


def _command_line(stage: StageState, command: Run) -> _CommandLine:
    """A single heredoc is the script itself; several are put together again for the shell."""
    if not command.files:
        return _CommandLine(args=command.args, name=command.code)
    if len(command.args) != 1 or not command.shell_form:
        raise DockerfileError(f"parsing produced an invalid run command: {plain_list(command.args)}")
    if is_heredoc(command.args[0]) is None:
        text = command.args[0] + "".join(f"\n{file.data}{file.name}" for file in command.files)
        return _CommandLine(args=(text,), name=command.code)
    file = command.files[0]
    data = chomp(file.data) if file.chomp else file.data
    name = f"{command.code} ({_summary(file.data)})"
    if stage.image.platform.os == "windows" or not data.startswith("#!"):
        return _CommandLine(args=(data,), name=name)
    return _CommandLine(args=(join_path(PIPES, file.name),), name=name, script=_script(stage, file.name, data))


def _script(stage: StageState, name: str, data: str) -> TreeMount:
    constraints = Constraints(platform=stage.platform, description={"llb.customname": "[internal] preparing inline document"})
    action = MkFile(path=name, mode=0o755, data=data.encode("utf-8", "surrogateescape"))
    tree = scratch().file([FileStep(action=action)], constraints)
    return TreeMount(target=PIPES, source=tree.output, selector="/", readonly=True)


def _summary(text: str) -> str:
    first, more, _ = text.strip(SPACE).replace("\r\n", "\n").partition("\n")
    return first + ("..." if more else "")


def _with_masks(command: Run, env: Env) -> Mapping[str, str]:
    """The environment with secrets that become variables shown as ****."""
    for mount in command.mounts:
        if mount.type is MountType.SECRET and mount.env is not None:
            env = env_with(env, mount.env, "****")
    return env


def _history_text(args: tuple[str, ...], declared: list[ArgDeclaration], env: Env) -> str:
    values = {arg.key: f"{arg.key}={env.get(arg.key, arg.value or '')}" for arg in declared}
    count = [f"|{len(values)}"] if values else []
    return " ".join((*count, *values.values(), *args))
