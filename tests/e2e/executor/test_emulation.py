"""Programs for another architecture: those that the kernel hands to qemu, and those that are handed to it in the container."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.executor.adapters.platforms import emulated_platforms, emulators, native_platforms
from shared.llb import ExecOp, Meta, Mount
from shared.model import Platform
from tests.kit.clients import Buildctl
from tests.kit.emulation import APPLETS, arm64_busybox, arm64_image, qemu, registered
from tests.kit.parts.buildkitd import daemon, our_buildmeshd
from tests.kit.parts.registry import Registry
from tests.kit.steps import Steps

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif("binfmt_misc" not in Path("/proc/filesystems").read_text(), reason="this kernel has no binfmt_misc"),
]

ARM64 = Platform(os="linux", architecture="arm64")


@pytest.fixture
def steps(tmp_path: Path) -> Iterator[Steps]:
    steps = Steps(tmp_path / "steps")
    yield steps
    steps.store.release("build")
    steps.close()


def foreign_tree(steps: Steps) -> str:
    made = steps.store.prepare(None)
    with steps.store.mount(made.id, writable=True) as path:
        os.makedirs(f"{path}/bin")
        Path(path, "bin/busybox").write_bytes(arm64_busybox())
        os.chmod(f"{path}/bin/busybox", 0o755)
        for applet in APPLETS:
            os.symlink("busybox", f"{path}/bin/{applet}")
    return steps.store.commit(made.id).id


def uname() -> ExecOp:
    return ExecOp(meta=Meta(args=("/bin/uname", "-m"), env=("PATH=/bin",)), mounts=(Mount(input=0, dest="/", output=0),))


async def test_an_emulator_on_path_is_put_into_the_container(steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the name that BuildKit's own have; without one the step fails by itself, and says so."""
    if ARM64 in (*native_platforms(), *emulated_platforms()):
        pytest.skip("the machine runs arm64 programs by itself")
    tree = foreign_tree(steps)
    with pytest.raises(Exception, match="exit code: 1"):
        await steps.run(uname(), tree, platform=ARM64)
    assert "exec format error" in steps.told.output[2].decode().lower()

    (tmp_path / "emulators").mkdir()
    (tmp_path / "emulators/buildkit-qemu-aarch64").symlink_to(qemu("aarch64"))
    monkeypatch.setenv("PATH", f"{tmp_path}/emulators:{os.environ['PATH']}")
    assert emulators() == (ARM64,)
    (out,) = await steps.run(uname(), tree, platform=ARM64)
    assert steps.told.text == "aarch64\n"
    assert "dev/.buildkit_qemu_emulator" not in steps.own(out), "it leaves no trace in the result"


def test_a_platform_that_the_kernel_emulates_is_offered_and_built(registry: Registry, context: Callable[..., Path], tmp_path: Path) -> None:
    """By the whole of it: the worker says that it has the platform, and a Dockerfile's steps run with all that they start."""
    image = arm64_image(tmp_path / "layout", registry.host)
    folder = context(f"FROM {image}\nRUN uname -m > /m && sh -c 'cat /m; ls /bin' | cat > /all\nFROM scratch\nCOPY --from=0 /all /\n")
    with registered(tmp_path / "binfmt"):
        if not Path("/proc/sys/fs/binfmt_misc/register").exists():
            assert ARM64 in emulated_platforms()
        with daemon(tmp_path / "daemon", our_buildmeshd()) as started:
            client = Buildctl(addr=started.addr, work=tmp_path / "client")
            (worker,) = json.loads(client.call("debug", "workers", "--format", "{{json .}}"))
            client.build(folder, "--opt", "platform=linux/arm64", "--output", f"type=local,dest={tmp_path}/out")
    offered = [(platform["os"], platform["architecture"]) for platform in worker["platforms"]]
    assert offered[0] != ("linux", "arm64") and ("linux", "arm64") in offered
    assert (tmp_path / "out/all").read_text().split() == ["aarch64", "busybox", *sorted(APPLETS)]
