"""RUN, and what CMD and ENTRYPOINT share with it (instructions/parse.go, commands_run*.go)."""

from services.frontend.core.dockerfile.commands import Common, Device, InlineFile, Run
from services.frontend.core.dockerfile.flags import FlagKind, parse_flags
from services.frontend.core.dockerfile.mounts import parse_mount
from services.frontend.core.dockerfile.nodes import Node
from services.frontend.core.failure import DockerfileError
from services.frontend.core.go_text import csv_fields
from shared.llb.go_text import parse_bool, quote

_FLAGS = {"mount": FlagKind.LIST, "network": FlagKind.TEXT, "security": FlagKind.TEXT, "device": FlagKind.LIST}


def joined_args(args: list[str], json: bool) -> tuple[str, ...]:
    """The arguments of the JSON form as they are, those of the shell form as one text."""
    return tuple(args) if json or not args else (" ".join(args),)


def inline_files(node: Node) -> tuple[InlineFile, ...]:
    return tuple(InlineFile(name=h.name, data=h.content, chomp=h.chomp) for h in node.heredocs)


def parse_run(node: Node, common: Common) -> Run:
    """Mounts are read only so far as they can't hold variables; the rest when the instruction is expanded."""
    flags = parse_flags(node.flags, _FLAGS)
    mount_flags = tuple(flags.list("mount"))
    mounts = tuple(parse_mount(flag, None) for flag in mount_flags)
    network, security = flags.text("network", "default"), flags.text("security", "sandbox")
    devices = tuple(_device(text) for text in flags.list("device"))
    if network not in ("default", "none", "host"):
        raise DockerfileError(f"invalid network mode {quote(network)}")
    if security not in ("sandbox", "insecure"):
        raise DockerfileError(f"security {quote(security)} is not valid")
    return Run(
        args=joined_args(node.args, node.json),
        files=inline_files(node),
        shell_form=not node.json,
        mount_flags=mount_flags,
        mounts=mounts,
        network=network,
        security=security,
        devices=devices,
        **common,
    )


def _device(text: str) -> Device:
    try:
        fields = csv_fields(text)
    except DockerfileError as error:
        raise error.prefixed("failed to parse csv devices") from None
    name, required = "", False
    for field in fields:
        key, has_value, value = field.partition("=")
        key = key.lower()
        if has_value and key == "name":
            if name:
                raise DockerfileError(f"device name already set to {name}")
            name = value
        elif key == "required":
            flag = parse_bool(value) if has_value else True
            if flag is None:
                raise DockerfileError(f"invalid value for {key}: {value}")
            required = flag
        elif not name:
            name = field
        elif has_value:
            raise DockerfileError(f"unexpected key '{key}' in '{field}'").suggesting(key, ("name", "required"))
        else:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
    return Device(name=name, required=required)
