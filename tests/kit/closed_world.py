"""`unshare --net --mount python -m tests.kit.closed_world`: a step's bridge, a fleet and the world as network namespaces.

Prints a JSON list: all targets, those that the step reaches before networks are closed, and those that it reaches afterwards. The process
is to be in namespaces of its own: nothing of what it makes outlives it.
"""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.kit.parts.process import child

BRIDGE: Final = "buildkit0"
LINKS: Final = {
    "step": ("10.10.0.2/16", "fd00:10::2/64", "10.10.0.1/16", "fd00:10::1/64"),
    "fleet": ("10.1.1.9/24", "fd00:1::9/64", "10.1.1.5/24", "fd00:1::5/64"),
    "world": ("198.51.100.9/24", "2001:db8::9/64", "198.51.100.5/24", "2001:db8::5/64"),
}
"""Namespace → its addresses, and those of the machine between them."""
METADATA: Final = "169.254.169.254"
BEHIND: Final = {"fleet": METADATA, "world": "203.0.113.9"}
"""Reached through a router there."""
SERVERS: Final = {
    "fleet": ("10.1.1.9-4222", "fd00:1::9-4222", "10.1.1.9-53", f"{METADATA}-80"),
    "world": ("203.0.113.9-443", "2001:db8::9-443"),
    "": ("0.0.0.0-8080", "::-8080"),
}
OF_THE_MACHINE: Final = ("10.10.0.1-8080", "fd00:10::1-8080", "fe80::ff:fe00:1%eth0-8080", "10.1.1.5-8080")
TARGETS: Final = (*SERVERS["fleet"], *SERVERS["world"], *OF_THE_MACHINE)
SECONDS: Final = 1.5


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=10)


def within(namespace: str, *words: str) -> list[str]:
    """The command line of this program there."""
    return [*(["ip", "netns", "exec", namespace] if namespace else []), sys.executable, "-m", "tests.kit.closed_world", *words]


def build() -> None:
    for words in (["mount", "-t", "tmpfs", "t", "/run"], ["mount", "-t", "sysfs", "s", "/sys"], ["mkdir", "/run/netns"]):
        subprocess.run(words, check=True, timeout=10)
    for name, value in {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1, "ipv6/conf/default/accept_dad": 0}.items():
        Path("/proc/sys/net", name).write_text(str(value))
    ip("link", "set", "lo", "up")
    ip("link", "add", BRIDGE, "address", "02:00:00:00:00:01", "type", "bridge")
    ip("link", "set", BRIDGE, "up")
    for name, addresses in LINKS.items():
        link(name, *addresses)
    for name, address in BEHIND.items():
        ip("-n", name, "addr", "add", f"{address}/32", "dev", "eth0")
        ip("route", "add", f"{address}/32", "via", LINKS[name][0].partition("/")[0])


def link(name: str, four: str, six: str, via_four: str, via_six: str) -> None:
    ip("netns", "add", name)
    ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
    own = BRIDGE if name == "step" else name
    if own != name:
        ip("link", "set", name, "master", own)
    ip("link", "set", name, "up")
    for address in (via_four, via_six):
        ip("addr", "add", address, "dev", own, *nodad(address))
    for device in ("lo", "eth0"):
        ip("-n", name, "link", "set", device, "up")
    for address, via in ((four, via_four), (six, via_six)):
        ip("-n", name, "addr", "add", address, "dev", "eth0", *nodad(address))
        ip("-n", name, "route", "add", "default", "via", via.partition("/")[0])


def nodad(address: str) -> tuple[str, ...]:
    """Addresses of IPv6 can be used at once where nobody looks for others that have them."""
    return ("nodad",) if ":" in address else ()


def parted(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition("-")
    return host, int(port)


def listen(addresses: Sequence[str]) -> None:
    """Until standard input ends."""
    with ExitStack() as stack:
        for host, port in map(parted, addresses):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            stack.enter_context(socket.create_server((host, port), family=family))
        print("up", flush=True)
        sys.stdin.read()


def reaches(address: str) -> bool:
    try:
        socket.create_connection(parted(address), SECONDS).close()
    except OSError:
        return False
    return True


def tried() -> list[str]:
    told = subprocess.run(within("step", "try"), check=True, timeout=30, capture_output=True, text=True).stdout
    return list(json.loads(told))


@contextmanager
def serving(namespace: str) -> Iterator[None]:
    argv = within(namespace, "listen", *SERVERS[namespace])
    with child(argv, seconds=30, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield


def main(words: Sequence[str]) -> None:
    match words:
        case ["listen", *addresses]:
            listen(addresses)
        case ["try"]:
            with ThreadPoolExecutor(len(TARGETS)) as pool:
                found = pool.map(reaches, TARGETS)
                print(json.dumps([target for target, reached in zip(TARGETS, found, strict=True) if reached]))
        case _:
            from services.executor.adapters.closed_networks import close_networks

            build()
            with ExitStack() as stack:
                for namespace in SERVERS:
                    stack.enter_context(serving(namespace))
                before = tried()
                asyncio.run(close_networks(BRIDGE, ["attached", "metadata"], ["10.1.1.9"]))
                print(json.dumps([TARGETS, before, tried()]))


if __name__ == "__main__":
    main(sys.argv[1:])
