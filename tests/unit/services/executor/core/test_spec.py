"""The runtime spec of typical steps, kept as golden files in tests/golden/spec."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.executor.core.seccomp import default_profile
from services.executor.core.spec import (
    Host,
    ProcessUser,
    SpecMount,
    Surroundings,
    cgroups_path,
    container_env,
    insecure_devices,
    runtime_spec,
    with_mounts,
)
from shared.llb import Meta, ProxyEnv, SecurityMode, Ulimit
from shared.llb.definition import Resources

GOLDEN = Path(__file__).parents[4] / "golden/spec"
HOST = Host(machine="x86_64", kernel=(6, 1), capabilities=("CAP_CHOWN", "CAP_SYS_ADMIN"), devices=insecure_devices(0)[:2], cgroup_v2=True)
AROUND = Surroundings(
    id="id", root="/state/mounts/1", readonly_root=False, hosts="/state/files/hosts", resolv_conf="/state/files/resolv.conf", netns=None,
    env=("PATH=/bin",),
)  # fmt: skip
MOUNTS = (
    SpecMount(destination="/dev/shm", type="tmpfs", source="tmpfs", options=("nosuid", "size=1000")),
    SpecMount(destination="/src", type="bind", source="/state/mounts/2", options=("rbind", "ro")),
)
CASES: dict[str, dict[str, Any]] = {
    "plain": {"meta": Meta(args=("sh", "-c", "true"), cwd="/w"), "around": AROUND, "user": ProcessUser()},
    "everything": {
        "meta": Meta(
            args=("x",), user="bob", hostname="h", ulimits=(Ulimit(name="nofile", soft=1, hard=-1),), cgroup_parent="../a/b"
        ),
        "around": Surroundings(
            id="id", root="/r", readonly_root=True, hosts="/h", resolv_conf="/c", netns="/ns", mounts=MOUNTS, cgroup_parent="p",
            apparmor="profile",
        ),
        "user": ProcessUser(uid=7, gid=8, groups=(8, 50)),
        "resources": Resources(memory=1, cpu_quota=2, cpuset_cpus="0"),
    },
    "insecure": {"meta": Meta(args=("x",)), "around": AROUND, "user": ProcessUser(), "security": SecurityMode.INSECURE},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str, update_golden: bool) -> None:
    made = json.dumps(runtime_spec(host=HOST, **CASES[name]), indent=1) + "\n"
    path = GOLDEN / f"{name}.json"
    if update_golden:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made)

    assert made == path.read_text()


def test_environment() -> None:
    meta = Meta(args=("x",), env=("A=1",), proxy_env=ProxyEnv(http="p", no="n"))

    assert container_env(meta, ("S=secret",)) == (
        "A=1", "HTTP_PROXY=p", "http_proxy=p", "NO_PROXY=n", "no_proxy=n",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "S=secret",
    )  # fmt: skip
    assert container_env(Meta(args=("x",), env=("PATH=",))) == ("PATH=",)


def test_a_later_mount_takes_the_earlier_ones_place() -> None:
    one, two, three = (SpecMount(destination=d, type=t, source="") for d, t in (("/a", "1"), ("/b", "2"), ("/a", "3")))

    assert with_mounts((one, two), (three,)) == (three, two)


@pytest.mark.parametrize(
    ("parent", "path"),
    [("", "/buildkit/i"), ("/p/", "/p/buildkit/i"), ("../../x", "/x/buildkit/i"), ("system.slice:b:", "system.slice:b:i")],
)
def test_cgroups(parent: str, path: str) -> None:
    assert cgroups_path(parent, "i") == path


def test_seccomp_depends_on_capabilities_machine_and_kernel() -> None:
    def allowed(*capabilities: str, machine: str = "x86_64", kernel: tuple[int, int] = (6, 1)) -> set[str]:
        rules = default_profile(capabilities, machine=machine, kernel=kernel)["syscalls"]
        return {name for rule in rules if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule for name in rule["names"]}

    assert {"read", "ptrace", "arch_prctl"} <= allowed() and not {"mount", "bpf", "clone3", "socket", "reboot"} & allowed()
    assert {"mount", "clone3"} <= allowed("CAP_SYS_ADMIN")
    assert "chroot" in allowed("CAP_SYS_CHROOT") and "ptrace" not in allowed(kernel=(4, 4))
    assert "architectures" not in default_profile((), machine="odd", kernel=(6, 1))
