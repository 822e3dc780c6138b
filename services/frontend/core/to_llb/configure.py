"""Instructions that only change the image config: ENV, LABEL, CMD, USER, … (dockerfile2llb/convert.go)."""

from dataclasses import replace

from services.frontend.core.dockerfile import commands as c
from services.frontend.core.dockerfile import rules
from services.frontend.core.dockerfile.linter import Linter
from services.frontend.core.dockerfile.shell_words import expand
from services.frontend.core.failure import DockerfileError
from services.frontend.core.go_text import format_duration, plain_list, quote_list
from services.frontend.core.image import Image
from services.frontend.core.to_llb.checks import NOT_ENVIRONMENT, check_secret_name, check_used_once, check_variables
from services.frontend.core.to_llb.history import commit
from services.frontend.core.to_llb.outline_capture import ArgInfo
from services.frontend.core.to_llb.setting import Setting
from services.frontend.core.to_llb.signals import is_signal
from services.frontend.core.to_llb.stage_state import StageState


def configure(stage: StageState, command: c.Command, setting: Setting, linter: Linter) -> None:
    """Carries out one of them. Raises DockerfileError, without the place."""
    match command:
        case c.Env():
            _env(stage, command, setting, linter)
        case c.Label():
            _label(stage, command, setting, linter)
        case c.Cmd():
            _cmd(stage, command, setting, linter)
        case c.Entrypoint():
            _entrypoint(stage, command, setting, linter)
        case c.HealthcheckCommand():
            _healthcheck(stage, command, setting, linter)
        case c.Maintainer():
            stage.image.author = command.maintainer
            commit(stage.image, f"MAINTAINER {command.maintainer}", setting.epoch)
        case c.Onbuild():
            stage.image.config.onbuild.append(command.expression)
        case c.User():
            set_user(stage, command.user)
            commit(stage.image, f"USER {command.user}", setting.epoch)
        case c.Volume():
            _volume(stage, command, setting)
        case c.StopSignal():
            _stop_signal(stage, command, setting)
        case c.Shell():
            stage.image.config.shell = list(command.shell)
            commit(stage.image, f"SHELL {plain_list(command.shell)}", setting.epoch)
        case _:
            raise AssertionError(f"no way to carry out {command.name}")


def set_user(stage: StageState, user: str) -> None:
    stage.state = stage.state.with_user(user)
    stage.image.config.user = user


def with_shell(image: Image, args: tuple[str, ...]) -> list[str]:
    """The shell form of a command as arguments."""
    default = ["cmd", "/S", "/C"] if image.platform.os == "windows" else ["/bin/sh", "-c"]
    return [*(image.config.shell or default), " ".join(args)]


def _check_legacy(command: c.Command, pair: c.Pair, linter: Linter) -> None:
    if pair.legacy:
        name = command.name
        message = f'"{name} key=value" should be used instead of legacy "{name} key value" format'
        linter.run(rules.LEGACY_KEY_VALUE_FORMAT, command.location, message)


def _env(stage: StageState, command: c.Env, setting: Setting, linter: Linter) -> None:
    for pair in command.pairs:
        _check_legacy(command, pair, linter)
        check_secret_name("ENV", pair.key, command.location, linter)
        if pair.key in stage.state.env:  # it has all that the config has
            set_env(stage.image.config.env, pair)
        else:
            stage.image.config.env.append(str(pair))
        stage.state = stage.state.with_env(pair.key, pair.value)
    commit(stage.image, "ENV" + "".join(f" {p}" for p in command.pairs), setting.epoch)


def set_env(env: list[str], pair: c.Pair) -> None:
    """Replaces in place, or appends."""
    prefix = pair.key + "="
    for n, variable in enumerate(env):
        if variable.startswith(prefix) or variable == pair.key:
            env[n] = str(pair)
            return
    env.append(str(pair))


def _label(stage: StageState, command: c.Label, setting: Setting, linter: Linter) -> None:
    for pair in command.pairs:
        _check_legacy(command, pair, linter)
        stage.image.config.labels[pair.key] = pair.value
    commit(stage.image, "LABEL" + "".join(f" {p}" for p in command.pairs), setting.epoch)


def _shell_form(stage: StageState, command: c.ShellDependent, linter: Linter) -> list[str]:
    if not command.shell_form:
        return list(command.args)
    if not stage.image.config.shell:
        message = f"JSON arguments recommended for {command.name} to prevent unintended behavior related to OS signals"
        linter.run(rules.JSON_ARGS_RECOMMENDED, command.location, message)
    return with_shell(stage.image, command.args)


def _cmd(stage: StageState, command: c.Cmd, setting: Setting, linter: Linter) -> None:
    check_used_once(command, stage.cmd, linter)
    args = _shell_form(stage, command, linter)
    stage.image.config.cmd = args
    stage.image.config.args_escaped = True
    commit(stage.image, f"CMD {quote_list(args)}", setting.epoch)


def _entrypoint(stage: StageState, command: c.Entrypoint, setting: Setting, linter: Linter) -> None:
    check_used_once(command, stage.entrypoint, linter)
    args = _shell_form(stage, command, linter)
    stage.image.config.entrypoint = args
    if stage.cmd.location is None:
        stage.image.config.cmd = []
    commit(stage.image, f"ENTRYPOINT {quote_list(args)}", setting.epoch)


def _healthcheck(stage: StageState, command: c.HealthcheckCommand, setting: Setting, linter: Linter) -> None:
    check_used_once(command, stage.healthcheck, linter)
    health = command.health
    stage.image.config.healthcheck = health
    fields = {
        "Test": plain_list(health.test),
        "Interval": format_duration(health.interval),
        "Timeout": format_duration(health.timeout),
        "StartPeriod": format_duration(health.start_period),
        "StartInterval": format_duration(health.start_interval),
        "Retries": str(health.retries),
    }
    commit(stage.image, "HEALTHCHECK {" + " ".join(f"{k}:{v}" for k, v in fields.items()) + "}", setting.epoch)


def _volume(stage: StageState, command: c.Volume, setting: Setting) -> None:
    if not all(command.volumes):
        raise DockerfileError("VOLUME specified can not be an empty string")
    stage.image.config.volumes.update(command.volumes)
    commit(stage.image, f"VOLUME {plain_list(command.volumes)}", setting.epoch)


def _stop_signal(stage: StageState, command: c.StopSignal, setting: Setting) -> None:
    if not is_signal(command.signal):
        raise DockerfileError(f"invalid signal: {command.signal}")
    stage.image.config.stop_signal = command.signal
    commit(stage.image, f"STOPSIGNAL {command.signal}", setting.epoch)


def arg(stage: StageState, command: c.Arg, setting: Setting, linter: Linter) -> None:
    """Declares build args: the value given, else the default, else that of the global ARG of the same name."""
    shown: list[str] = []
    for declaration in command.declarations:
        check_secret_name("ARG", declaration.key, command.location, linter)
        declaration, inherited = _arg_value(stage, command, declaration, setting, linter)
        key, value = declaration.key, declaration.value
        if value is not None and key not in NOT_ENVIRONMENT:
            stage.state = stage.state.with_env(key, value)
        if not inherited:
            info = ArgInfo(declaration=declaration, location=command.location, value=value or "")
            stage.outline.all_args[key] = info
        stage.outline.used_args[key] = None
        stage.build_args.append(declaration)
        shown.append(key if value is None else f"{key}={value}")
    commit(stage.image, "ARG " + " ".join(shown), setting.epoch)


def _arg_value(
    stage: StageState, command: c.Arg, declaration: c.ArgDeclaration, setting: Setting, linter: Linter
) -> tuple[c.ArgDeclaration, bool]:
    """The declaration with its value, and whether that comes from the global scope."""
    key = declaration.key
    if key in setting.build_args:
        return replace(declaration, value=setting.build_args[key]), False
    if declaration.value is None:
        value = setting.global_args.get(key)
        return (declaration, False) if value is None else (replace(declaration, value=value), True)
    env = stage.state.env
    result = expand(declaration.value, env, setting.words)
    check_variables(command, stage.build_args, env, result.unmatched, linter)
    return replace(declaration, value=result.text), False
