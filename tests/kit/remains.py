"""What builds leave behind on a machine and on the bus of a stack, by kind.

While builds run these are in use; afterwards they have to be gone.
"""

import asyncio
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

from shared.run.backends import open_bus
from shared.wire import subjects
from tests.kit.stack import Stack

Remains = dict[str, list[str]]
"""Kind → what was found; only kinds of which something was."""

MARK = "BUILDMESH_STACK"
"""A variable that all processes of a stack inherit: the stack's folder."""

WATCHED = {"gateway": (subjects.KV_BUILDS, subjects.KV_SESSIONS), "solver": (subjects.KV_BRIDGES,)}
"""Service → buckets that it may look at whole, whose entries belong to running builds."""
UNWATCHED = (subjects.KV_LOCKS, subjects.KV_PULLS)
"""Those that nobody may: what is in them ends soon, marks of what was deleted as well."""

SAMPLES = {"executor": ("buildmesh_executor_leases",), "cachestore": ("buildmesh_run_claims",), "solver": ("buildmesh_builds_running",)}
"""Metrics that count what belongs to running builds."""

TEMPORARY = ("run", "packing", "trash", "snapshots/trash", "ssh", "git-ssh")
"""Folders of an executor's state: bundles, packed layers, what is being removed, agents' sockets."""


def mounts(stack: Stack) -> list[str]:
    """Mount points below the stack's folder; namespaces are told separately."""
    points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [point for point in points if point.startswith(f"{stack.folder}/") and "/netns/" not in point]


def containers(stack: Stack) -> list[str]:
    """What the runtimes of all executors still know of."""
    return _paths(stack.folder, "executor-*/state/executor/runc/*")


def cgroups(stack: Stack, parent: str) -> list[str]:
    """Of containers, below the `parent` that the executors were given."""
    return [path for place in Path("/sys/fs/cgroup").iterdir() for path in _paths(place, f"{parent.strip('/')}/*/buildkit/*/")]


def namespaces(stack: Stack) -> list[str]:
    """Network namespaces that were made for steps. Executors keep them for the next ones; they go with their executor."""
    return _paths(stack.folder, "executor-*/state/executor/netns/*")


def temporary(stack: Stack) -> list[str]:
    """Files that a step, a layer or a source needed for a while."""
    found = [path for place in TEMPORARY for path in _paths(stack.folder, f"executor-*/state/executor/{place}/*")]
    return found + _paths(stack.folder, "tmp/*")


def processes(stack: Stack) -> list[str]:
    """Processes inside of steps, and all that services have started and that still run."""
    parts = {part.pid for part in stack.parts.values()}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inside = f"{stack.folder}/executor" in (process / "mountinfo").read_text() and (process / "root").readlink() != Path("/")
            started = f"{MARK}={stack.folder}\0".encode() in (process / "environ").read_bytes() and int(process.name) not in parts
            if inside or started:
                found.append(f"{process.name} " + (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def counted(stack: Stack) -> list[str]:
    """Leases of executors, claims of runs at the cachestore, builds of solvers: what their own metrics say."""
    found = []
    for name in stack.parts:
        for sample in SAMPLES.get(name.rpartition("-")[0], ()):
            value = _metric(f"http://127.0.0.1:{stack.ports[name]}/metrics", sample)
            if value != 0:
                found.append(f"{name} {sample} {value}")
    return found


def on_the_bus(stack: Stack) -> list[str]:
    """Entries of running builds, and work that waits: as gateway and solver see them."""

    async def look() -> list[str]:
        found = []
        for service, buckets in WATCHED.items():
            bus = await open_bus(stack.nats.url, name=service, certificates=stack.certificates(service))
            try:
                for name in buckets:
                    found += [f"{name}: {entry.key}" for entry in await (await bus.bucket(name, ttl=subjects.TTL[name])).entries()]
                if service == "solver" and (waiting := await bus.depth(subjects.BUILDS)):
                    found.append(f"{subjects.BUILDS}: {waiting}")
            finally:
                await bus.close()
        return found

    return asyncio.run(look()) + _unwatched(stack)


def _unwatched(stack: Stack) -> list[str]:
    """As the server counts."""
    with urllib.request.urlopen(f"{stack.nats.monitor}/jsz?accounts=true&streams=true", timeout=5) as answer:
        accounts = json.load(answer)["account_details"]
    held = {row["name"].removeprefix("KV_"): row["state"]["messages"] for account in accounts for row in account.get("stream_detail", [])}
    return [f"{name}: {held[name]} entries" for name in UNWATCHED if held.get(name)]


def left(stack: Stack, parent: str) -> Remains:
    """Everything but namespaces, which idle executors keep."""
    found = {
        "mounts": mounts(stack),
        "containers": containers(stack),
        "cgroups": cgroups(stack, parent),
        "temporary files": temporary(stack),
        "processes": processes(stack),
        "leases and claims": counted(stack),
        "bus": on_the_bus(stack),
    }
    return {kind: names for kind, names in found.items() if names}


def left_by_the_dead(stack: Stack, parent: str) -> Remains:
    """When all services have ended: also namespaces, and the cgroup that was given to the executors."""
    found = {
        "mounts": mounts(stack),
        "containers": containers(stack),
        "cgroups": [path for place in Path("/sys/fs/cgroup").iterdir() for path in _paths(place, parent.strip("/"))],
        "namespaces": namespaces(stack),
        "temporary files": temporary(stack),
        "processes": processes(stack),
    }
    return {kind: names for kind, names in found.items() if names}


def gone(look: Callable[[], Remains], seconds: float) -> Remains:
    """What is still there after `seconds` at most: leases have to run out."""
    deadline = time.monotonic() + seconds
    while (found := look()) and time.monotonic() < deadline:
        print(f"still there: {found}", flush=True)
        time.sleep(2)
    return found


def runs(stack: Stack, marks: Iterable[str]) -> dict[str, int]:
    """How often steps that print these lines were begun, on whatever executor (`debug_output` has to be on)."""
    said = "".join(path.read_text(errors="replace") for path in stack.folder.glob("executor-*/executor-*.log"))
    return {mark: said.count(f"{mark}\n") for mark in marks}


def _paths(folder: Path, pattern: str) -> list[str]:
    return sorted(map(str, folder.glob(pattern)))


def _metric(url: str, name: str) -> float:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0
