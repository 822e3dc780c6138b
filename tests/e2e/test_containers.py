"""Containers that a client opens in its build: NewContainer, ExecProcess, their files, ReleaseContainer."""

import asyncio
import hashlib

import pytest

from shared.errors import AlreadyExists, BuildmeshError, NotFound
from shared.llb import scratch
from shared.pb import gateway_pb2 as pb
from shared.pb import ops_pb2
from tests.e2e.conftest import Mesh
from tests.kit.driven import Driver, driven

pytestmark = [pytest.mark.root, pytest.mark.slow]

SH = ("/bin/sh", "-c")


async def test_processes_of_a_container(mesh: Mesh, busybox: str) -> None:
    """Several at a time, with input, exit codes, users and directories; the files that they leave are seen at once."""
    async with driven(mesh.addr) as driver, driver.processes() as processes:
        container = await driver.container(await driver.image(busybox), hostname="box")
        init = await processes.start(container, [*SH, "hostname; echo err >&2; read line; echo got $line; exit 7"], fds=(0, 1, 2))
        await processes.until(init, b"box\n")

        second = await processes.run(
            container,
            [*SH, "id -u; pwd; echo $A; echo hi > /tmp/file; ps | grep -c 'read line'"],
            user="daemon",
            cwd="/tmp",
            env=("A=b", "PATH=/bin"),
        )
        lines = second.output[1].decode().split()
        assert lines[:3] == ["1", "/tmp", "b"] and int(lines[3]) >= 1
        assert (second.code, second.error) == (0, "")
        file = await driver.ask("ReadFileContainer", pb.ReadFileRequest(Ref=container, FilePath="/tmp/file"), pb.ReadFileResponse)
        assert file.Data == b"hi\n"
        listed = await driver.ask("ReadDirContainer", pb.ReadDirRequest(Ref=container, DirPath="/tmp"), pb.ReadDirResponse)
        assert [entry.path for entry in listed.entries] == ["file"]
        stat = await driver.ask("StatFileContainer", pb.StatFileRequest(Ref=container, Path="/bin/sh"), pb.StatFileResponse)
        assert stat.stat.size > 10_000, "the link is followed"

        await processes.say(init, File=pb.FdMessage(Fd=0, Data=b"a line\n"))
        first = await processes.wait(init)
        assert first.output == {1: b"box\ngot a line\n", 2: b"err\n"}
        assert (first.code, first.error) == (7, "exit code: 7")


async def test_a_terminal_of_a_size(alone: Mesh, busybox: str) -> None:
    async with driven(alone.addr) as driver, driver.processes() as processes:
        container = await driver.container(await driver.image(busybox))
        shell = await processes.start(container, ["sh"], fds=(0, 1), Tty=True, env=("PS1=ready> ",))
        await processes.until(shell, b"ready> ")

        await processes.say(shell, Resize=pb.ResizeMessage(Rows=33, Cols=77))
        await asyncio.sleep(0.3)
        await processes.say(shell, File=pb.FdMessage(Fd=0, Data=b"stty size; echo $TERM; tty\n"))
        await processes.until(shell, b"/dev/pts/0")
        await processes.say(shell, File=pb.FdMessage(Fd=0, Data=b"exit 3\n"))
        ended = await processes.wait(shell)

        assert b"33 77\r\nxterm\r\n/dev/pts/0" in ended.output[1]
        assert ended.code == 3


async def test_signals_and_release(mesh: Mesh, busybox: str) -> None:
    """A signal reaches the process; releasing kills all, and says with what the first one ended."""
    async with driven(mesh.addr) as driver, driver.processes() as processes:
        container = await driver.container(await driver.image(busybox))
        trap = "trap 'exit 9' INT; echo on; while true; do sleep 0.1; done"
        init = await processes.start(container, ["sleep", "100"])
        trapped = await processes.start(container, [*SH, trap])
        await processes.until(trapped, b"on")
        await processes.say(trapped, Signal=pb.SignalMessage(Name="INT"))
        assert (await processes.wait(trapped)).code == 9
        sleeping = await processes.start(container, ["sleep", "100"])

        with pytest.raises(BuildmeshError, match="exit code: 9"):
            await driver.release(container)

        for process in (init, sleeping):
            ended = await processes.wait(process)
            assert (ended.code, ended.error) == (137, "exit code: 137: context canceled")
        after = await processes.run(container, ["true"])
        assert after.code == 255 and "previously released or not created" in after.error


async def test_mounts(alone: Mesh, busybox: str) -> None:
    """A result, an empty tree, a cache and a tmpfs; what is written to a result stays with the container."""
    async with driven(alone.addr) as driver, driver.processes() as processes:
        image = await driver.image(busybox)
        mounts = (
            ops_pb2.Mount(dest="/again", resultID=image, readonly=True),
            ops_pb2.Mount(dest="/empty"),
            ops_pb2.Mount(dest="/cache", mountType=ops_pb2.CACHE, cacheOpt=ops_pb2.CacheOpt(ID="c")),
            ops_pb2.Mount(dest="/fast", mountType=ops_pb2.TMPFS),
        )
        for turn in ("one", "one\ntwo"):
            container = await driver.container(image, *mounts)
            ended = await processes.run(
                container,
                [
                    *SH,
                    f"touch /again/x; ls /empty /fast; test ! -e /mark; touch /mark; echo {turn[-3:]} >> /cache/log; cat /cache/log",
                ],
            )
            assert ended.code == 0, ended
            assert ended.output[1].decode().split()[2:] == turn.split(), ended
            assert b"Read-only file system" in ended.output[2]
            await driver.release(container)


async def test_refused(alone: Mesh, busybox: str) -> None:
    """Each by a text that names it; a process that can't run is no end of the stream."""
    async with driven(alone.addr) as driver, driven(alone.addr) as other, driver.processes() as processes:
        image = await driver.image(busybox)
        container = await driver.container(image)
        with pytest.raises(AlreadyExists, match=f"Container {container} already exists"):
            await driver.container(image, name=container)
        with pytest.raises(NotFound, match="failed to find ref nonsense"):
            await driver.container("nonsense")
        with pytest.raises(NotFound, match="failed to find ref"):
            await driver.container(await other.image(busybox))
        with pytest.raises(BuildmeshError, match="with no mounts"):
            await driver.ask("NewContainer", pb.NewContainerRequest(ContainerID="x"), pb.NewContainerResponse)
        with pytest.raises(BuildmeshError, match="not found"):
            await other.release(container)
        with pytest.raises(BuildmeshError, match="out of bounds"):
            await driver.ask("ReadFileContainer", pb.ReadFileRequest(Ref=container, FilePath="/x", MountIndex=5), pb.ReadFileResponse)
        escaped = pb.ReadFileRequest(Ref=container, FilePath="/../../../../etc/shadow")
        with pytest.raises(BuildmeshError, match="no such file"):
            await driver.ask("ReadFileContainer", escaped, pb.ReadFileResponse)

        for init, says in (
            ({"Security": 1}, "security.insecure is not allowed"),
            ({"Security": 9}, "invalid security mode"),
            ({"user": "eve"}, "unable to find user eve"),
        ):
            ended = await processes.run(container, ["true"], **init)
            assert ended.code == 255 and says in ended.error
        host = await driver.container(image, Network=ops_pb2.HOST)
        assert "network.host is not allowed" in (await processes.run(host, ["true"])).error
        missing = await processes.run(await driver.container(image), ["/nope"])
        assert missing.code != 0 and b"/nope" in missing.output[2]


async def test_over_what_a_failed_step_left(mesh: Mesh, busybox: str) -> None:
    """The error names the trees; a container shows them."""
    async with driven(mesh.addr) as driver, driver.processes() as processes:
        op = ops_pb2.Op(inputs=[], platform=ops_pb2.Platform(OS="linux", Architecture="amd64"))
        definition = ops_pb2.Definition()
        source = ops_pb2.Op(source=ops_pb2.SourceOp(identifier=f"docker-image://{busybox}"), platform=op.platform)
        op.inputs.add(digest=digest(source))
        op.exec.meta.args.extend([*SH, "echo left > /trace; exit 5"])
        op.exec.meta.cwd = "/"
        op.exec.mounts.add(input=0, dest="/", output=0)
        last = ops_pb2.Op(inputs=[ops_pb2.Input(digest=digest(op))])
        getattr(definition, "def").extend(o.SerializeToString(deterministic=True) for o in (source, op, last))

        with pytest.raises(BuildmeshError, match="exit code: 5") as caught:
            await driver.ask("Solve", pb.SolveRequest(Definition=definition, Evaluate=True, allowResultReturn=True), pb.SolveResponse)

        detail = caught.value.detail("errdefs.Solve+json")
        assert detail is not None and not caught.value.detail("Left+json")
        told = detail.json()
        assert told["op"]["exec"]["meta"]["args"][-1].startswith("echo left") and len(told["inputIDs"]) == 1
        container = await driver.container(told["mountIDs"][0])
        assert (await processes.run(container, ["cat", "/trace"])).output[1] == b"left\n"


def digest(op: ops_pb2.Op) -> str:
    return "sha256:" + hashlib.sha256(op.SerializeToString(deterministic=True)).hexdigest()


async def test_a_driver_that_leaves(alone: Mesh, busybox: str) -> None:
    """Its processes are killed; the file that one of them renews in a cache mount stands still."""
    cache = ops_pb2.Mount(dest="/cache", mountType=ops_pb2.CACHE, cacheOpt=ops_pb2.CacheOpt(ID="leaving"))
    async with driven(alone.addr) as driver:
        async with driver.processes() as processes:
            container = await driver.container(await driver.image(busybox), cache)
            init = await processes.start(container, [*SH, "while true; do echo x >> /cache/log; echo y; sleep 0.05; done"])
            await processes.until(init, b"y")
        sizes = [await size(driver, container) for _ in range(2)]
        await asyncio.sleep(0.5)
        assert await size(driver, container) == sizes[-1]


async def size(driver: Driver, container: str) -> int:
    await asyncio.sleep(0.3)
    request = pb.StatFileRequest(Ref=container, Path="/log", MountIndex=1)
    found: pb.StatFileResponse = await driver.ask("StatFileContainer", request, pb.StatFileResponse)
    return int(found.stat.size)


async def test_scratch_is_no_root_that_runs(alone: Mesh) -> None:
    async with driven(alone.addr) as driver, driver.processes() as processes:
        container = await driver.container(await driver.solve(scratch()))
        assert (await processes.run(container, ["true"])).code != 0
