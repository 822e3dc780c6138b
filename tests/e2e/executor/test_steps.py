"""Steps in real containers: BuildKit's defaults, mounts, outputs, failures, cancelling (reference 03 §3, 06 §7)."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.executor.core.log_limit import LogLimits
from shared.errors import LEFT, BuildFailed, NotFound, RefLost, read_left
from shared.llb import CacheOpt, Device, FileSecret, HostIP, Mount, MountType, NetMode, SecretEnv, SecurityMode, Sharing, Ulimit
from shared.pb import ops_pb2
from tests.kit.steps import Steps

pytestmark = pytest.mark.root

VALUE = b"v-9f3b17c4"


def cgroups() -> set[Path]:
    """Of containers, in any hierarchy; other builds of this machine come and go there meanwhile."""
    found = set()
    for folder, below, _ in os.walk("/sys/fs/cgroup"):  # passes over what vanishes while it looks, as a glob does not
        if os.path.basename(folder) == "buildkit":
            found.update(Path(folder, name) for name in below)
            below.clear()
    return found


def _remembering(run: Any, ids: list[str]) -> Any:
    async def call(id: str, *args: Any, **options: Any) -> Any:
        ids.append(id)
        return await run(id, *args, **options)

    return call


@pytest.fixture
def steps(tmp_path: Path) -> Iterator[Steps]:
    steps = Steps(tmp_path / "x")
    steps.runc.run = _remembering(steps.runc.run, ids := [])  # type: ignore[method-assign]
    yield steps
    assert not {path for path in cgroups() if path.name in ids}
    steps.store.release("build")
    counters = steps.store.statistics()
    steps.close()
    assert (counters["claimed"], counters["mounts"]) == (0, 0)
    assert os.listdir(steps.root / "run") == [] and os.listdir(steps.root / "runc") == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


async def test_a_step_leaves_a_layer_with_what_it_wrote(steps: Steps) -> None:
    (out,) = await steps.run(steps.shell("echo hi > /new; echo said; echo err >&2"), steps.busybox())

    assert steps.read(out, "new") == "hi\n"
    assert steps.own(out) == {"new", "etc", "dev", "proc", "sys"}  # in /etc the mount points have been taken away again
    assert steps.told.output == {1: b"said\n", 2: b"err\n"}


async def test_mount_points_vanish_and_directory_times_stay(steps: Steps) -> None:
    base = steps.busybox()
    with steps.store.mount(base) as path:
        before = os.stat(f"{path}/etc").st_mtime_ns
    (out,) = await steps.run(steps.shell("touch /keep", Mount(dest="/a/b/c", type=MountType.TMPFS, output=-1)), base)
    with steps.store.mount(out or "") as path:
        assert os.stat(f"{path}/etc").st_mtime_ns == before

    assert steps.names(out, "etc") == {"passwd", "group"}
    assert steps.names(out, "a/b") == set()  # only the mount point itself goes; its parents with removeMountStubsRecursive
    (out,) = await steps.run(
        steps.shell("true", Mount(dest="/a/b/c", type=MountType.TMPFS, output=-1), remove_mount_stubs_recursive=True), base
    )
    assert "a" not in steps.names(out)


async def test_defaults_inside(steps: Steps) -> None:
    script = """
        cat /proc/self/status | head -60 > /status; cat /etc/hosts; hostname 2>/dev/null || cat /proc/sys/kernel/hostname; pwd
        mount > /mounts; id; env; echo x > /run/f 2>/dev/null || { mkdir -p /run; echo x > /run/f; }
    """
    (out,) = await steps.run(steps.shell(script, cwd="/made/here", extra_hosts=(HostIP(host="h", ip="1.2.3.4"),)), steps.busybox())
    text = steps.told.text
    status = dict(line.split(":", 1) for line in steps.read(out, "status").splitlines() if ":" in line)
    mounts = steps.read(out, "mounts")

    assert "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n1.2.3.4\th\n" in text
    assert "/made/here\n" in text and "uid=0(root) gid=0(root)" in text
    assert status["NoNewPrivs"].strip() == "0" and status["Seccomp"].strip() == "2"
    assert (status["CapEff"].strip(), status["CapInh"].strip(), status["CapAmb"].strip()) == ("00000000a80425fb", "0" * 16, "0" * 16)
    assert steps.read(out, "run/f") == "x\n"  # no tmpfs hides what is written there
    assert "shm on /dev/shm" in mounts and "65536k" in mounts
    assert "PATH=/bin\n" in text


async def test_user_lookup(steps: Steps) -> None:
    base = steps.busybox()
    for user, expected in (
        ("bob", "uid=7(bob) gid=8 groups=8,50(staff)"),
        ("7", "uid=7(bob) gid=8 groups=8,50(staff)"),
        ("7:9", "uid=7(bob) gid=9 groups=9"),
        ("bob:staff", "uid=7(bob) gid=50(staff) groups=50(staff)"),
        ("99", "uid=99 gid=0(root) groups=0(root)"),
    ):
        await steps.run(steps.shell("id", user=user), base)
        assert steps.told.text.strip() == expected, user
    with pytest.raises(BuildFailed, match="unable to find user eve: no matching entries in passwd file"):
        await steps.run(steps.shell("id", user="eve"), base)


async def test_failure_text_tail_and_what_it_left(steps: Steps) -> None:
    with pytest.raises(BuildFailed) as caught:
        await steps.run(steps.shell("echo x > /left; echo last words; exit 42"), steps.busybox())

    assert (
        caught.value.message == 'process "/bin/sh -c echo x > /left; echo last words; exit 42" did not complete successfully: exit code: 42'
    )
    detail = caught.value.detail(LEFT)
    left = read_left(detail) if detail is not None else None
    assert left is not None and left.mounts[0] is not None
    assert steps.read(left.mounts[0].id, "left") == "x\n"
    assert steps.told.text == "last words\n"


async def test_program_that_is_missing(steps: Steps) -> None:
    op = steps.shell("")
    with pytest.raises(BuildFailed, match='process "/nope" did not complete successfully: exit code: 1'):
        await steps.run(replace(op, meta=replace(op.meta, args=("/nope",))), steps.busybox())
    assert b"/nope" in steps.told.output[2]


async def test_valid_exit_codes(steps: Steps) -> None:
    base = steps.busybox()
    await steps.run(steps.shell("exit 3", valid_exit_codes=(3, 4)), base)
    with pytest.raises(BuildFailed, match="exit code: 0"):
        await steps.run(steps.shell("exit 0", valid_exit_codes=(3,)), base)


async def test_cancel_kills_within_two_seconds(steps: Steps) -> None:
    running = asyncio.Event()
    steps_log = steps.told

    class Listening(type(steps_log)):  # type: ignore[misc]
        def log(self, stream: int, data: bytes) -> None:
            running.set()

    async def run() -> None:
        op = steps.shell("trap '' TERM INT; echo up; while true; do sleep 100; done")
        await steps.exec.run(op, steps.request(), (steps.busybox(),), Listening())

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(run())
        await running.wait()
        task.cancel()
        began = time.monotonic()
        await asyncio.wait([task])
    assert time.monotonic() - began < 2
    assert task.cancelled()


async def test_bind_mounts_and_outputs(steps: Steps) -> None:
    base = steps.busybox()
    (data,) = await steps.run(steps.shell("mkdir -p /d/e; echo 1 > /d/e/f"), base)
    op = steps.shell(
        "cat /in/f; echo x > /scratch/y; echo z > /thrown/q; touch /in/no && exit 9; echo w > /kept/w",
        Mount(input=1, dest="/in", selector="/d/e", output=-1, readonly=True),
        Mount(input=-1, dest="/scratch", output=1),
        Mount(input=1, dest="/thrown", output=-1),
        Mount(input=1, dest="/ro", output=2, readonly=True),
        Mount(input=1, dest="/kept", output=3),
    )
    outs = await steps.run(op, base, data)

    assert steps.told.text == "1\n"
    assert outs[2] == data
    assert steps.names(outs[1]) == {"y"}
    assert "w" in steps.names(outs[3]) and "q" not in steps.names(outs[3])
    assert len(outs) == 4


@pytest.mark.parametrize("selector", ["nope", "{up}{outside}", "out", "up", "d/{up}{outside}", "out/secret"])
async def test_selectors_stay_inside(steps: Steps, tmp_path: Path, selector: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("told")
    up = "../" * 12
    base = steps.busybox()
    (data,) = await steps.run(steps.shell(f"mkdir /d; ln -s {outside} /out; ln -s {up}{outside} /up"), base)
    selector = selector.format(up=up, outside=str(outside).lstrip("/"))
    op = steps.shell("cat /in/secret /in", Mount(input=1, dest="/in", selector=selector, output=-1, readonly=True))

    with pytest.raises(BuildFailed):
        await steps.run(op, base, data)
    assert "told" not in steps.told.text


async def test_hostile_destination_and_directory_stay_inside(steps: Steps, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    base = steps.busybox()
    (evil,) = await steps.run(steps.shell(f"ln -s {outside} /link; ln -s ../../../../../../../../../..{outside} /up"), base)
    for path in ("/link/new", "/up/new"):
        await steps.run(steps.shell("true", cwd=path), evil)
        await steps.run(steps.shell("true", Mount(dest=path, type=MountType.TMPFS, output=-1)), evil)
    assert list(outside.iterdir()) == []


async def test_cache_mounts(steps: Steps) -> None:
    base = steps.busybox()

    def cached(script: str, sharing: Sharing = Sharing.SHARED, id: str = "c") -> object:
        return steps.shell(script, Mount(dest="/c", type=MountType.CACHE, cache=CacheOpt(id=id, sharing=sharing), output=-1))

    await steps.run(cached("echo 1 > /c/f"), base)  # type: ignore[arg-type]
    await steps.run(cached("cat /c/f"), base)  # type: ignore[arg-type]
    assert steps.told.text == "1\n"
    await steps.run(cached("cat /c/f || echo none", id="other"), base)  # type: ignore[arg-type]
    assert steps.told.text == "none\n"
    await steps.run(cached("cat /c/f || echo none"), base, prune_mounts=("c",))  # type: ignore[arg-type]
    assert steps.told.text == "none\n"
    (out,) = await steps.run(cached("echo 2 > /c/g", Sharing.PRIVATE), base)  # type: ignore[arg-type]
    assert "c" not in steps.names(out)


async def test_locked_and_private_cache_mounts_are_never_used_twice_at_once(steps: Steps) -> None:
    base = steps.busybox()
    for sharing in (Sharing.LOCKED, Sharing.PRIVATE):
        said = [type(steps.told)(), type(steps.told)()]
        mount = Mount(dest="/c", type=MountType.CACHE, cache=CacheOpt(id=sharing.name, sharing=sharing), output=-1)
        op = steps.shell("test -e /c/busy && echo overlap; touch /c/busy; sleep 0.2; rm /c/busy", mount)
        async with asyncio.TaskGroup() as tasks:
            for told in said:
                tasks.create_task(steps.exec.run(op, steps.request(), (base,), told))
        assert [told.text for told in said] == ["", ""]
    dirs = [snapshot.keys[0] for snapshot in steps.store.all() if snapshot.mutable]
    assert sorted(dirs) == ["cache:LOCKED", "cache:PRIVATE", "cache:PRIVATE"]


async def test_shared_cache_mounts_are_one_directory(steps: Steps) -> None:
    """Each step ends only when it sees what the other writes."""
    base = steps.busybox()
    mount = Mount(dest="/c", type=MountType.CACHE, cache=CacheOpt(id="s", sharing=Sharing.SHARED), output=-1)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for mine, other in ("ab", "ba"):
            op = steps.shell(f"touch /c/{mine}; until test -e /c/{other}; do sleep 0.05; done", mount)
            tasks.create_task(steps.exec.run(op, steps.request(), (base,), type(steps.told)()))


async def test_tmpfs_secret_and_secret_env(steps: Steps) -> None:
    steps.links.secrets["k"] = VALUE
    op = steps.shell(
        "cat /run/secrets/k; stat -c %a:%u:%g /run/secrets/k; mount | grep secrets; echo; echo $TOKEN; touch /t/x",
        Mount(dest="/run/secrets/k", type=MountType.SECRET, secret=FileSecret(id="k", mode=0o440, uid=3, gid=4)),
        Mount(dest="/no", type=MountType.SECRET, secret=FileSecret(id="missing", optional=True)),
        Mount(dest="/t", type=MountType.TMPFS, tmpfs_size=1 << 20, output=-1),
    )
    op = replace(op, secret_env=(SecretEnv(id="k", name="TOKEN"), SecretEnv(id="missing", name="M", optional=True)))
    outs = await steps.run(replace(op, meta=replace(op.meta, env=("PATH=/bin",))), steps.busybox())

    assert f"{VALUE.decode()}440:3:4\n" in steps.told.text and f"\n{VALUE.decode()}\n" in steps.told.text
    assert len(outs) == 1
    found = [p for p in steps.root.rglob("*") if p.is_file() and VALUE in p.read_bytes()]
    assert found == []


async def test_required_secret_is_missing(steps: Steps) -> None:
    with pytest.raises(NotFound, match="secret missing: not found"):
        await steps.run(steps.shell("true", Mount(dest="/s", type=MountType.SECRET, secret=FileSecret(id="missing"))), steps.busybox())


async def test_network_none_and_host(steps: Steps) -> None:
    base = steps.busybox()
    await steps.run(replace(steps.shell("ip -o link | cat"), network=NetMode.NONE), base)
    assert steps.told.text.count("\n") == 1 and "lo:" in steps.told.text
    await steps.run(replace(steps.shell("cat /proc/net/dev"), network=NetMode.HOST), base)
    assert steps.told.text.split() != []


async def test_insecure_has_everything_and_sandbox_has_not(steps: Steps) -> None:
    base = steps.busybox()
    op = steps.shell("mount -t tmpfs x /tmp && echo yes; ls /dev/fuse; cat /proc/self/status")
    await steps.run(replace(op, security=SecurityMode.INSECURE), base)
    assert "yes" in steps.told.text and "Seccomp:\t0" in steps.told.text
    await steps.run(op, base)
    assert "yes" not in steps.told.text


async def test_limits_of_resources_and_ulimits(steps: Steps) -> None:
    base = steps.busybox()
    await steps.run(steps.shell("ulimit -n", ulimits=(Ulimit(name="nofile", soft=77, hard=88),)), base)
    assert steps.told.text == "77\n"
    resources = ops_pb2.LinuxResources(memory=16 << 20).SerializeToString()
    with pytest.raises(BuildFailed, match=r"exit code: \d+: cannot allocate memory"):
        await steps.run(steps.shell("x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo ${#x}"), base, resources=resources)


async def test_output_is_clipped(tmp_path: Path) -> None:
    steps = Steps(tmp_path / "x", limits=LogLimits(size=10_000, speed=-1))
    with pytest.raises(BuildFailed):
        await steps.run(steps.shell("yes line | head -c 500000; echo the end; exit 1"), steps.busybox())
    text = steps.told.text
    steps.close()

    assert "\n[output clipped, log limit 9.76562KiB reached]\n" in text
    assert text.endswith("the end\n") and len(text) < 300_000


async def test_lost_input(steps: Steps) -> None:
    with pytest.raises(RefLost):
        await steps.run(steps.shell("true"), "gone")


async def test_read_only_root(steps: Steps) -> None:
    root = Mount(input=0, dest="/", output=-1, readonly=True)
    await steps.run(steps.shell("touch /x || echo refused", root=root), steps.busybox())

    assert steps.told.text == "refused\n"


async def test_ten_at_once(steps: Steps) -> None:
    base = steps.busybox()
    async with asyncio.TaskGroup() as tasks:
        outs = [
            tasks.create_task(steps.exec.run(steps.shell(f"echo {n} > /n"), steps.request(), (base,), type(steps.told)()))
            for n in range(10)
        ]
    assert [steps.read(task.result()[0], "n") for task in outs] == [f"{n}\n" for n in range(10)]


CDI = """
cdiVersion: "0.6.0"
kind: example.org/node
annotations: {org.mobyproject.buildkit.device.autoallow: true}
containerEdits:
  env: [PATH=/bin:/x]
  mounts: [{hostPath: %s, containerPath: /given, options: [ro, bind]}]
devices:
- name: null
  containerEdits:
    deviceNodes: [{path: /dev/mine, hostPath: /dev/null}]
    additionalGids: [4711]
"""


async def test_a_device_of_the_machine(steps: Steps, tmp_path: Path) -> None:
    """Its node can be written to, and the driver's files and variables come along; nothing of it stays in the layer."""
    (steps.root / "cdi").mkdir()
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver/lib").write_text("lib")
    (steps.root / "cdi/node.yaml").write_text(CDI.replace("name: null", "name: none") % (tmp_path / "driver"))
    op = steps.shell("echo x > /dev/mine; stat -c %t:%T /dev/mine; cat /given/lib; echo; env | cat; id")

    with pytest.raises(BuildFailed, match=r'required device "example\.com/other" is not registered'):
        await steps.run(replace(op, devices=(Device(name="example.com/other"),)), steps.busybox())
    (out,) = await steps.run(replace(op, devices=(Device(name="example.org/node=none"),)), steps.busybox())

    assert steps.told.text.splitlines()[:2] == ["1:3", "lib"]
    assert "PATH=/bin:/x" in steps.told.text
    assert "4711" in steps.told.text
    assert "mine" not in steps.names(out, "dev")
