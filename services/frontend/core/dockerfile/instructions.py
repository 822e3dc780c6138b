"""From a node to a typed instruction (instructions/parse.go)."""

import re
from collections.abc import Callable

from services.frontend.core.dockerfile.commands import (
    Arg,
    ArgDeclaration,
    Cmd,
    Command,
    Common,
    Entrypoint,
    Env,
    Expose,
    Label,
    Maintainer,
    Onbuild,
    Pair,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from services.frontend.core.dockerfile.flags import NO_FLAGS, parse_flags
from services.frontend.core.dockerfile.health import parse_healthcheck
from services.frontend.core.dockerfile.nodes import Node
from services.frontend.core.dockerfile.run import inline_files, joined_args, parse_run
from services.frontend.core.dockerfile.transfers import parse_add, parse_copy
from services.frontend.core.failure import DockerfileError
from services.frontend.core.go_text import SPACE


def parse_command(node: Node) -> Command:
    """The instruction of this node, FROM excepted. Raises DockerfileError, without the place."""
    parser = _PARSERS.get(node.keyword.lower())
    if parser is None:
        message = f"unknown instruction: {node.keyword}"
        names = [name.upper() for name in ("run", "copy", "from", *_PARSERS)]  # near ones first, where several are as near
        raise DockerfileError(message).suggesting(node.keyword, names, case_sensitive=False)
    return parser(node)


def common(node: Node) -> Common:
    """The fields that every command has."""
    comments = tuple(node.comments) if node.comments is not None else None
    return Common(code=node.original.strip(SPACE), name=node.keyword, location=node.location, comments=comments)


def description(comments: list[str] | None, name: str) -> str:
    """The text of the comment line that begins with `name `, "" when there is none."""
    if not name:
        return ""
    return next((c[len(name) + 1 :] for c in comments or () if c.startswith(name + " ")), "")


def _one(node: Node, keyword: str) -> str:
    if len(node.args) != 1:
        raise DockerfileError(f"{keyword} requires exactly one argument")
    return node.args[0]


def _some(node: Node, keyword: str) -> list[str]:
    if not node.args:
        raise DockerfileError(f"{keyword} requires at least one argument")
    return node.args


def _pairs(node: Node, keyword: str) -> tuple[Pair, ...]:
    parse_flags(node.flags, NO_FLAGS)
    args = _some(node, keyword)
    names = args[0::3]
    if not all(names):
        raise DockerfileError(f"{keyword} names can not be blank")
    return tuple(Pair(key=k, value=v, legacy=not d) for k, v, d in zip(names, args[1::3], args[2::3], strict=True))


def _env(node: Node) -> Command:
    return Env(pairs=_pairs(node, "ENV"), **common(node))


def _label(node: Node) -> Command:
    return Label(pairs=_pairs(node, "LABEL"), **common(node))


def _maintainer(node: Node) -> Command:
    text = _one(node, "MAINTAINER")
    parse_flags(node.flags, NO_FLAGS)
    return Maintainer(maintainer=text, **common(node))


def _workdir(node: Node) -> Command:
    path = _one(node, "WORKDIR")
    parse_flags(node.flags, NO_FLAGS)
    return Workdir(path=path, **common(node))


def _user(node: Node) -> Command:
    user = _one(node, "USER")
    parse_flags(node.flags, NO_FLAGS)
    return User(user=user, **common(node))


def _stop_signal(node: Node) -> Command:
    return StopSignal(signal=_one(node, "STOPSIGNAL"), **common(node))


_ONBUILD = re.compile(r"(?i)^\s*ONBUILD\s*", re.ASCII)


def _onbuild(node: Node) -> Command:
    args = _some(node, "ONBUILD")
    parse_flags(node.flags, NO_FLAGS)
    trigger = args[0].strip(SPACE).upper()
    if trigger == "ONBUILD":
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise DockerfileError(f"{trigger} isn't allowed as an ONBUILD trigger")
    expression = _ONBUILD.sub("", node.original)
    for heredoc in node.heredocs:
        expression += "\n" + heredoc.content + heredoc.name
    return Onbuild(expression=expression, **common(node))


def _cmd(node: Node) -> Command:
    parse_flags(node.flags, NO_FLAGS)
    return Cmd(args=joined_args(node.args, node.json), files=inline_files(node), shell_form=not node.json, **common(node))


def _entrypoint(node: Node) -> Command:
    parse_flags(node.flags, NO_FLAGS)
    return Entrypoint(args=joined_args(node.args, node.json), files=inline_files(node), shell_form=not node.json, **common(node))


def _healthcheck(node: Node) -> Command:
    return parse_healthcheck(_some(node, "HEALTHCHECK"), node.flags, node.json, common(node))


def _expose(node: Node) -> Command:
    ports = sorted(_some(node, "EXPOSE"))
    parse_flags(node.flags, NO_FLAGS)
    return Expose(ports=tuple(ports), **common(node))


def _volume(node: Node) -> Command:
    volumes = tuple(v.strip(SPACE) for v in _some(node, "VOLUME"))
    parse_flags(node.flags, NO_FLAGS)
    if not all(volumes):
        raise DockerfileError("VOLUME specified can not be an empty string")
    return Volume(volumes=volumes, **common(node))


def _arg(node: Node) -> Command:
    declarations: list[ArgDeclaration] = []
    for word in _some(node, "ARG"):
        key, has_value, value = word.partition("=")
        if has_value and not key:
            raise DockerfileError("ARG names can not be blank")
        declarations.append(ArgDeclaration(key=key, value=value if has_value else None, description=description(node.comments, key)))
    return Arg(declarations=tuple(declarations), **common(node))


def _shell(node: Node) -> Command:
    parse_flags(node.flags, NO_FLAGS)
    args = joined_args(node.args, node.json)
    if not args:
        raise DockerfileError("SHELL requires at least one argument")
    if not node.json:
        raise DockerfileError("SHELL requires the arguments to be in JSON form")
    return Shell(shell=args, **common(node))


def _add(node: Node) -> Command:
    return parse_add(node, common(node))


def _copy(node: Node) -> Command:
    return parse_copy(node, common(node))


def _run(node: Node) -> Command:
    return parse_run(node, common(node))


_PARSERS: dict[str, Callable[[Node], Command]] = {
    "add": _add,
    "arg": _arg,
    "cmd": _cmd,
    "copy": _copy,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "healthcheck": _healthcheck,
    "label": _label,
    "maintainer": _maintainer,
    "onbuild": _onbuild,
    "run": _run,
    "shell": _shell,
    "stopsignal": _stop_signal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}
