"""Networks set up by the real CNI plugins, in a network namespace of the test's own.

The bridge and its firewall rules would stay on the machine: so the test moves a whole Python process into a namespace first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path("/usr/lib/cni")
pytestmark = [pytest.mark.root, pytest.mark.skipif(not (PLUGINS / "bridge").exists(), reason="needs containernetworking-plugins")]

SCRIPT = """
import asyncio, json, os, sys
from dataclasses import replace
from pathlib import Path
from services.executor.core.settings import NetworkConfig
from shared.llb import NetMode, SecurityMode
from tests.kit.steps import Steps

async def main():
    root, mode = Path(sys.argv[1]), sys.argv[2]
    steps = Steps(root, network=NetworkConfig(mode=mode, cni_config=str(root.parent / "cni.json"), cni_binaries="/usr/lib/cni"))
    base = steps.busybox()
    said = []
    async def say(op):
        await steps.run(op, base)
        said.append(steps.told.text)
    show = steps.shell("ip -4 -o addr; ip route; cat /etc/resolv.conf")
    await say(show)
    await say(show)
    await say(replace(show, meta=replace(show.meta, hostname="own")))
    await say(replace(show, network=NetMode.NONE))
    both = [type(steps.told)(), type(steps.told)()]
    async with asyncio.TaskGroup() as tasks:
        for told in both:
            tasks.create_task(steps.exec.run(steps.shell("ip -4 -o addr show eth0; sleep 0.2"), steps.request(), (base,), told))
    said += [told.text for told in both]
    kept = os.listdir(root / "netns")
    await steps.parts.networks.close()
    left = os.listdir(root / "netns")
    steps.close()
    print(json.dumps({"said": said, "kept": len(kept), "left": left, "label": steps.parts.networks.label}))

asyncio.run(main())
"""


def in_namespace(root: Path, mode: str) -> dict[str, object]:
    command = f'mount -t tmpfs t /var/lib/cni; ip link set lo up; exec {sys.executable} -c "$0" "$@"'
    run = subprocess.run(
        ["unshare", "--net", "--mount", "/bin/sh", "-c", f"mkdir -p /var/lib/cni; {command}", SCRIPT, str(root / "x"), mode],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert run.returncode == 0, run.stderr
    answer: dict[str, object] = json.loads(run.stdout.splitlines()[-1])
    return answer


def check(answer: dict[str, object]) -> None:
    first, second, own, none, *both = answer["said"]  # type: ignore[misc]

    assert "eth0" in first and "inet 10.10." in first and "default via 10.10.0.1" in first and "127.0.0.1/8" in first
    assert first.split("\n")[1] == second.split("\n")[1]  # the same namespace again
    assert "eth0" in own and own.split("\n")[1] != first.split("\n")[1]
    assert "eth0" not in none
    assert len({line.split()[3] for line in both}) == 2
    assert (answer["kept"], answer["left"], answer["label"]) == (2, [], "cni")


def test_built_in_bridge(tmp_path: Path) -> None:
    check(in_namespace(tmp_path, "bridge"))


def test_configuration_file(tmp_path: Path) -> None:
    """As BuildKit's own fixture is written: one plugin, no list."""
    document = {
        "cniVersion": "1.0.0", "name": "buildkit", "type": "bridge", "bridge": "buildkit0", "isDefaultGateway": True, "ipMasq": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.10.0.0/16"}]]},
    }  # fmt: skip
    (tmp_path / "cni.json").write_text(json.dumps(document))
    check(in_namespace(tmp_path, "auto"))


def test_plugin_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "cni.json").write_text('{"name": "n", "type": "nope"}')
    with pytest.raises(AssertionError, match="CNI plugin nope not found in"):
        in_namespace(tmp_path, "cni")
