"""The smallest programs of each architecture really are such: qemu runs them, and this machine its own."""

import os
import subprocess
from pathlib import Path

import pytest

from services.executor.core.tiny_programs import TINY, tiny_program
from tests.kit.emulation import qemu

QEMU = {"arm64": "aarch64", "arm": "arm", "riscv64": "riscv64", "ppc64le": "ppc64le", "s390x": "s390x", "mips64": "mips64"}
QEMU |= {"mips64le": "mips64el"}
NATIVE = ("amd64", "386") if os.uname().machine == "x86_64" else ()


@pytest.mark.parametrize("architecture", [name for name in TINY if name in QEMU or name in NATIVE])
def test_it_ends_well(architecture: str, tmp_path: Path) -> None:
    path = tmp_path / "tiny"
    path.write_bytes(tiny_program(architecture))
    path.chmod(0o755)
    argv = [path] if architecture in NATIVE else [qemu(QEMU[architecture]), path]
    assert subprocess.run(argv, timeout=20, check=False).returncode == 0
    assert len(tiny_program(architecture)) < 200
