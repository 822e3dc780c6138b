"""The text of a container's /etc/hosts and /etc/resolv.conf (executor/oci/{hosts,resolvconf}.go; reference 06 §7.4)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from shared.errors import InvalidInput
from shared.llb import HostIP

__all__ = ["Dns", "hosts_text", "nameservers_of", "only_systemd_resolved", "resolv_conf_text"]

_PUBLIC = ("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """The `[dns]` section: each list that is not empty takes the place of the host's."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def hosts_text(hostname: str, extra: Iterable[HostIP] = ()) -> str:
    """Two lines for localhost and one per extra host. Errors: InvalidInput naming an address that is none."""
    lines = [f"127.0.0.1\tlocalhost {hostname}", "::1\tlocalhost ip6-localhost ip6-loopback"]
    for host in extra:
        if _address(host.ip) is None or any(c.isspace() for c in host.host):
            raise InvalidInput(f"failed to parse IP {host.ip!r} of extra host {host.host!r}")
        lines.append(f"{host.ip}\t{host.host}")
    return "".join(line + "\n" for line in lines)


def only_systemd_resolved(text: str) -> bool:
    """Whether the only nameserver is systemd-resolved's stub, which no container but a host-networked one can reach."""
    return _parse(text)[0] == ["127.0.0.53"]


def nameservers_of(text: str) -> list[str]:
    """The addresses that a resolv.conf names."""
    return _parse(text)[0]


def resolv_conf_text(source: str, dns: Dns, *, host_network: bool) -> str:
    """resolv.conf for a container, from that of the host. Loopback servers are left out unless they come from configuration."""
    servers, search, options, other = _parse(source)
    if dns.nameservers:
        bad = next((server for server in dns.nameservers if _address(server) is None), None)
        if bad is not None:
            raise InvalidInput(f"bad nameserver address {bad!r}")
        servers = list(dns.nameservers)
    elif not host_network or not servers:
        servers = [server for server in servers if not _loopback(server)] or list(_PUBLIC)
    search = list(dns.search) or search
    options = list(dns.options) or options
    lines = [f"nameserver {server}" for server in servers]
    if search:
        lines.append("search " + " ".join(search))
    if options:
        lines.append("options " + " ".join(options))
    return "".join(line + "\n" for line in [*lines, *other])


def _parse(text: str) -> tuple[list[str], list[str], list[str], list[str]]:
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    other: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        match words[0]:
            case "nameserver":
                servers += [word for word in words[1:2] if _address(word) is not None]
            case "domain" | "search":
                search = words[1:]
            case "options":
                options += words[1:]
            case _:
                other.append(line.strip())
    return servers, [word for word in search if word != "."], options, other


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _loopback(text: str) -> bool:
    address = _address(text)
    return address is None or address.is_loopback
