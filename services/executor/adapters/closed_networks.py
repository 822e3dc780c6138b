"""Networks that steps do not reach: a step runs foreign code, and the fleet's own bus, blob store and gateways are a hop away.

Packet filter rules in the executor's own network namespace. What a step sends into a closed network is dropped on its way through the
bridge, and so is what it sends to the executor itself.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Sequence

from services.executor.adapters.process import capture
from shared.errors import InvalidInput, Unavailable

__all__ = ["close_networks"]

ATTACHED = "attached"


async def close_networks(bridge: str, closed: Sequence[str]) -> None:
    """Close networks (`10.1.0.0/16`, or `attached`: all that this machine has an address in) to steps on the bridge. Repeatable.

    Errors: InvalidInput for what is no network, Unavailable when the packet filter refuses.
    """
    networks: list[str] = []
    for name in closed:
        networks += attached(await _routes(), bridge) if name == ATTACHED else [_network(name)]
    for network in dict.fromkeys(networks):
        await _drop("mangle", "FORWARD", "-i", bridge, "-d", network)
    await _drop("filter", "INPUT", "-i", bridge)


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
        raise InvalidInput(f"a network that steps do not reach: {text!r} is neither an IPv4 network nor {ATTACHED!r}") from None


async def _routes() -> list[object]:
    code, out, said = await capture(["ip", "-json", "-4", "route", "show"])
    if code:
        raise Unavailable(f"ip route: {said.decode(errors='replace').strip()}")
    routes: list[object] = json.loads(out or b"[]")
    return routes


async def _drop(table: str, chain: str, *rule: str) -> None:
    """One rule, if it is not there. In `mangle`: it comes before `filter`, where CNI's firewall lets its own through first."""
    words = [chain, *rule, "-j", "DROP"]
    code, _, _ = await capture(["iptables", "--wait", "-t", table, "-C", *words])
    if code == 0:
        return
    code, _, said = await capture(["iptables", "--wait", "-t", table, "-I", *words])
    if code:
        raise Unavailable(f"iptables: {said.decode(errors='replace').strip()}")
