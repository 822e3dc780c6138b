"""`buildmesh doctor`: what this machine lacks for running builds, and how to mend it."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from client.cli import reach
from shared.errors import BuildmeshError
from shared.oci.runtime import runtime_fault
from shared.pb import control_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`good` None = only worth knowing. `cure` is what to do."""

    what: str
    good: bool | None
    cure: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    reach.configure(parser)


def run(arguments: argparse.Namespace) -> int:
    found = [*machine(), _daemon(arguments)]
    for finding in found:
        sign = {True: "ok  ", False: "FAIL", None: "note"}[finding.good]
        print(f"{sign} {finding.what}" + (f"\n     → {finding.cure}" if finding.cure and not finding.good else ""))
    return 1 if any(finding.good is False for finding in found) else 0


def machine() -> Iterator[Finding]:
    """Everything but the daemon."""
    yield _root()
    yield _runtime(shutil.which)
    yield _overlay()
    yield _cgroups()
    yield _tool("git", "for git sources", required=False)
    yield _tool("iptables", "for bridge networks", required=False)
    yield _space("/var/lib")
    yield _packages()


def _root() -> Finding:
    return Finding(
        what=f"running as uid {os.geteuid()}",
        good=os.geteuid() == 0,
        cure="executors run containers and need root: use sudo (clients don't need it)",
    )


def _runtime(which: Callable[[str], str | None]) -> Finding:
    for name in ("runc", "crun"):
        path = which(name)
        if path:
            said = _first_line([path, "--version"])
            fault = runtime_fault(said)
            return Finding(what=f"{path}: {fault or said}", good=not fault, cure="install a newer one")
    return Finding(what="no container runtime", good=False, cure="apt-get install runc")


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"does not run ({error})"
    return done.stdout.splitlines()[0] if done.stdout else ""


def _overlay() -> Finding:
    try:
        known = any(line.split()[-1:] == ["overlay"] for line in Path("/proc/filesystems").read_text().splitlines())
    except OSError:
        known = False
    return Finding(
        what="overlay file system" + ("" if known else " is not loaded"),
        good=True if known else None,
        cure="modprobe overlay; without it snapshots are plain copies, which is slower",
    )


def _cgroups() -> Finding:
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    present = unified or Path("/sys/fs/cgroup/memory").exists()
    return Finding(
        what=f"cgroups {'v2' if unified else 'v1' if present else 'are not mounted'}",
        good=present,
        cure="mount -t cgroup2 none /sys/fs/cgroup",
    )


def _tool(name: str, purpose: str, *, required: bool) -> Finding:
    path = shutil.which(name)
    if path:
        return Finding(what=path, good=True)
    return Finding(what=f"no {name} ({purpose})", good=False if required else None, cure=f"apt-get install {name}")


def _space(folder: str) -> Finding:
    free = shutil.disk_usage(folder).free
    return Finding(
        what=f"{free / 1e9:.0f} GB free below {folder}",
        good=True if free > 5e9 else None,
        cure="builds want some GB; free some, or put the state elsewhere with --state",
    )


def _packages() -> Finding:
    missing = []
    for name in ("grpc", "hpack", "google.protobuf", "uvloop", "zstandard", "isal"):
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    text = "Python libraries" + (f" lack {', '.join(missing)}" if missing else "")
    return Finding(what=text, good=not missing, cure="pip install -r requirements.lock")


def _daemon(arguments: argparse.Namespace) -> Finding:
    try:
        with reach.asked(arguments) as daemon:
            version = daemon.ask("Info", control_pb2.InfoRequest(), control_pb2.InfoResponse, within=arguments.timeout).buildkitVersion
    except BuildmeshError as error:
        return Finding(what=f"daemon at {arguments.addr}: {error}", good=None, cure="buildmesh up (or buildmeshd), or give --addr")
    return Finding(what=f"daemon at {arguments.addr}: {version.package} {version.version}", good=True)
