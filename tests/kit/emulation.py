"""A foreign architecture on this machine: Debian's qemu for it, registered with the kernel for a moment, and an image to run."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kit import images
from tests.kit.oci_layout import Layout, Tree
from tests.kit.parts.process import program

__all__ = ["arm64_busybox", "arm64_image", "qemu", "registered"]

HOW = "tests/tools/debian test"
APPLETS = ("sh", "cat", "uname", "echo", "ls")
_ARM64 = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


def qemu(name: str) -> Path:
    """The static user-mode emulator of an architecture as qemu calls it."""
    return Path(program(f"qemu-{name}-static", HOW)).resolve()


def arm64_busybox() -> bytes:
    """Debian's arm64 build."""
    return Path(program("busybox-arm64", HOW)).read_bytes()


def arm64_image(folder: Path, host: str) -> str:
    """Its name in the registry at `host`: busybox for arm64 and nothing else."""
    tree = Tree().folder("bin").file("bin/busybox", arm64_busybox(), 0o755)
    for applet in APPLETS:
        tree.link(f"bin/{applet}", "busybox")
    layout = Layout(folder)
    layout.tag(layout.image([tree.done()], {"Env": ["PATH=/bin"]}, arch="arm64"), "latest")
    return images.push_layout(folder, f"{host}/foreign/busybox:arm64")


@contextmanager
def registered(folder: Path) -> Iterator[None]:
    """The kernel gives arm64 programs to qemu for the length of the block: on the whole machine, so keep it short."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "binfmt_misc", "none", folder], check=True, timeout=10)
    name = f"buildmesh-test-{os.getpid()}"
    try:
        (folder / "register").write_text(f":{name}:M::{_ARM64}:{_MASK}:{qemu('aarch64')}:POCF")
        yield
    finally:
        if (folder / name).exists():
            (folder / name).write_text("-1")
        subprocess.run(["umount", folder], check=True, timeout=10)
