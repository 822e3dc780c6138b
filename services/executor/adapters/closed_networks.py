"""Networks that steps do not reach: a step runs foreign code, and the fleet's own bus, blob store and gateways are a hop away.

Packet filter rules in the executor's own network namespace. What a step sends into a closed network is dropped on its way through the
bridge, and so is what it sends to the executor itself. The step's name servers answer all the same, on their own port. The bridge has no
IPv6 network, but every link has addresses of its own: of IPv6 nothing passes.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from services.executor.adapters.process import capture
from shared.errors import InvalidInput, Unavailable

__all__ = ["KNOWN", "close_networks"]

ATTACHED = "attached"
KNOWN: Final = {
    "metadata": ("169.254.0.0/16",),
    "private": ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
}
"""Names for networks: where clouds tell a machine about itself and give it keys; all that the internet has no route to (RFC 1918, 6598)."""
_HAS_IPV6 = Path("/proc/net/if_inet6")
_DNS = 53


async def close_networks(bridge: str, closed: Sequence[str], nameservers: Sequence[str] = ()) -> None:
    """Close networks to steps on the bridge: `10.1.0.0/16`, `attached` (all that this machine has an address in), a name of KNOWN.

    `nameservers` are those of steps. Repeatable. Errors: InvalidInput for what is no network, Unavailable when the packet filter refuses.
    """
    networks: list[str] = []
    for name in closed:
        networks += attached(await _routes(), bridge) if name == ATTACHED else KNOWN.get(name) or [_network(name)]
    for network in dict.fromkeys(networks):
        await _insert("iptables", "mangle", "FORWARD", "-i", bridge, "-d", network, "-j", "DROP")
    for server in nameservers:
        if ipaddress.ip_address(server).version == 4:
            for protocol in ("udp", "tcp"):
                await _first("mangle", "FORWARD", "-i", bridge, "-d", server, "-p", protocol, "--dport", str(_DNS), "-j", "RETURN")
    await _insert("iptables", "filter", "INPUT", "-i", bridge, "-j", "DROP")
    if _HAS_IPV6.exists():  # noqa: ASYNC240 — a file of the kernel's
        for table, chain in (("mangle", "FORWARD"), ("filter", "INPUT")):
            await _insert("ip6tables", table, chain, "-i", bridge, "-j", "DROP")


def attached(routes: Iterable[object], bridge: str) -> list[str]:
    """The networks of `ip -json route show` that are a link of this machine, other than the bridge's own."""
    found = []
    for route in routes:
        if isinstance(route, dict) and route.get("scope") == "link" and route.get("dev") != bridge:
            found.append(_network(str(route.get("dst"))))
    return found


def _network(text: str) -> str:
    try:
        return str(ipaddress.IPv4Network(text))
    except ValueError:
        names = ", ".join(map(repr, (ATTACHED, *KNOWN)))
        raise InvalidInput(f"a network that steps do not reach: {text!r} is neither an IPv4 network nor one of {names}") from None


async def _routes() -> list[object]:
    code, out, said = await capture(["ip", "-json", "-4", "route", "show"])
    if code:
        raise Unavailable(f"ip route: {said.decode(errors='replace').strip()}")
    routes: list[object] = json.loads(out or b"[]")
    return routes


async def _insert(program: str, table: str, chain: str, *rule: str) -> None:
    """One rule, if it is not there. In `mangle`: it comes before `filter`, where CNI's firewall lets its own through first."""
    code, _, _ = await capture([program, "--wait", "-t", table, "-C", chain, *rule])
    if code == 0:
        return
    code, _, said = await capture([program, "--wait", "-t", table, "-I", chain, *rule])
    if code:
        raise Unavailable(f"{program}: {said.decode(errors='replace').strip()}")


async def _first(table: str, chain: str, *rule: str) -> None:
    """Before all that are there, also when it was among them."""
    await capture(["iptables", "--wait", "-t", table, "-D", chain, *rule])
    await _insert("iptables", table, chain, *rule)
