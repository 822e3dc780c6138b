"""EXPOSE (dockerfile2llb/convert_expose.go)."""

import ipaddress

from services.frontend.core.dockerfile import rules
from services.frontend.core.dockerfile.commands import Expose
from services.frontend.core.dockerfile.linter import Linter
from services.frontend.core.dockerfile.shell_words import split
from services.frontend.core.failure import DockerfileError, Location
from services.frontend.core.go_text import parse_int, plain_list
from services.frontend.core.to_llb.history import commit
from services.frontend.core.to_llb.setting import Setting
from services.frontend.core.to_llb.stage_state import StageState
from shared.llb.go_text import quote

_PROTOCOLS = frozenset(("tcp", "udp", "sctp"))


def dispatch_expose(stage: StageState, command: Expose, setting: Setting, linter: Linter) -> None:
    words = [word for port in command.ports for word in split(port, stage.state.env, setting.words)]
    ports = [port for word in words for port in _ports(word, command.location, linter)]
    stage.image.config.exposed_ports.update(ports)
    commit(stage.image, f"EXPOSE {plain_list(ports)}", setting.epoch)


def _ports(text: str, location: Location, linter: Linter) -> list[str]:
    """`[ip:][host:]port[-port][/protocol]` as a list of `port/protocol`."""
    *outer, inner = text.rsplit(":", 2)
    host_port = outer[-1] if outer else ""
    ip = outer[0] if len(outer) == 2 else ""
    ports, protocol = _protocol(inner, text)
    if protocol != protocol.lower():
        message = f"Defined protocol '{text}' in EXPOSE instruction should be lowercase"
        linter.run(rules.EXPOSE_PROTO_CASING, location, message)
    if ip or host_port:
        message = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{text}'"
        linter.run(rules.EXPOSE_INVALID_FORMAT, location, message)
    if ip:
        _check_ip(ip)
    first, last = _range(ports, f"invalid containerPort: {ports}")
    if host_port:
        host_first, host_last = _range(host_port, f"invalid hostPort: {host_port}")
        if last - first not in (host_last - host_first, 0):
            raise DockerfileError(f"invalid ranges specified for container and host Ports: {ports} and {host_port}")
    return [f"{port}/{protocol.lower()}" for port in range(first, last + 1)]


def _protocol(inner: str, text: str) -> tuple[str, str]:
    ports, _, protocol = inner.partition("/")
    if not ports:
        raise DockerfileError(f"invalid port: {quote(text)}: no port specified")
    if protocol and protocol.lower() not in _PROTOCOLS:
        raise DockerfileError(f"invalid port: {quote(text)}: invalid proto: {protocol}")
    return ports, protocol or "tcp"


def _check_ip(text: str) -> None:
    bare = text
    if text.startswith("["):
        if not text.endswith("]"):
            raise DockerfileError(f"invalid IP address {text}: address {text}:: missing ']' in address")
        bare = text[1:-1]
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        raise DockerfileError(f"invalid IP address: {bare}") from None


def _range(text: str, complaint: str) -> tuple[int, int]:
    first, is_range, last = text.partition("-")
    try:
        start = parse_int(first)
        end = parse_int(last) if is_range and last != first else start
    except DockerfileError:
        raise DockerfileError(complaint) from None
    if not 0 <= start <= end <= 65535:
        raise DockerfileError(complaint)
    return start, end
