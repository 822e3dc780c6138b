"""Networks that steps do not reach."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from services.executor.adapters.closed_networks import attached, close_networks
from shared.errors import InvalidInput

ROUTES = [
    {"dst": "default", "gateway": "10.1.2.1", "dev": "eth0"},
    {"dst": "10.1.1.0/24", "dev": "eth1", "scope": "link"},
    {"dst": "10.1.2.0/24", "dev": "eth0", "scope": "link"},
    {"dst": "10.10.0.0/16", "dev": "buildkit0", "scope": "link"},
    "nonsense",
]
PROGRAM = """
import asyncio, subprocess
from services.executor.adapters.closed_networks import close_networks
def ip(*words): subprocess.run(["ip", *words], check=True, timeout=10)
ip("link", "add", "one", "type", "bridge"); ip("addr", "add", "10.1.1.5/24", "dev", "one"); ip("link", "set", "one", "up")
for networks in (["attached"], ["attached", "192.168.9.0/24", "10.1.1.0/24", "metadata"]):
    asyncio.run(close_networks("buildkit0", networks, ["10.1.1.53", "2001:4860:4860::8888"]))
for program in ("iptables", "ip6tables"):
    for table in ("mangle", "filter"):
        print(subprocess.run([program, "-t", table, "-S"], check=True, timeout=10, capture_output=True, text=True).stdout)
"""


def test_every_link_but_the_bridge_is_attached() -> None:
    assert attached(ROUTES, "buildkit0") == ["10.1.1.0/24", "10.1.2.0/24"]


@pytest.mark.parametrize("name", ["mesh", "10.1.1.5/24", "-j", "fe80::/64", ""])
def test_what_is_no_network_is_named(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name!r} is neither"):
        asyncio.run(close_networks("buildkit0", [name]))


@pytest.mark.root
def test_rules_are_made_once() -> None:
    """In a network namespace of its own, with the real packet filter."""
    root = Path(__file__).parents[5]
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, timeout=30, check=False
    )

    assert done.returncode == 0, done.stderr
    assert sorted(line for line in done.stdout.splitlines() if line.startswith("-A")) == [
        "-A FORWARD -d 10.1.1.0/24 -i buildkit0 -j DROP",
        "-A FORWARD -d 10.1.1.53/32 -i buildkit0 -p tcp -m tcp --dport 53 -j RETURN",
        "-A FORWARD -d 10.1.1.53/32 -i buildkit0 -p udp -m udp --dport 53 -j RETURN",
        "-A FORWARD -d 169.254.0.0/16 -i buildkit0 -j DROP",
        "-A FORWARD -d 192.168.9.0/24 -i buildkit0 -j DROP",
        "-A FORWARD -i buildkit0 -j DROP",
        "-A INPUT -i buildkit0 -j DROP",
        "-A INPUT -i buildkit0 -j DROP",
    ]
    forward = [line for line in done.stdout.splitlines() if line.startswith("-A FORWARD -d")]
    assert [line.endswith("RETURN") for line in forward] == [True] * 2 + [False] * 3  # name servers come first, also after a change


@pytest.mark.root
def test_a_step_reaches_the_world_and_nothing_of_the_fleet() -> None:
    """With real packets: bus, name server, metadata; the internet; the executor. By IPv4, IPv6 and a link's own address."""
    root = Path(__file__).parents[5]
    argv = ["unshare", "--net", "--mount", sys.executable, "-m", "tests.kit.closed_world"]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    targets, before, after = json.loads(done.stdout.splitlines()[-1])
    assert before == targets  # else it would prove nothing
    assert after == ["10.1.1.9-53", "203.0.113.9-443"]
