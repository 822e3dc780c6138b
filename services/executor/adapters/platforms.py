"""What this machine can run: the native platform, its variants, and what binfmt_misc emulates (BuildKit util/archutil/detect.go)."""

import os
import shutil
from pathlib import Path

from services.executor.core.tiny_programs import tiny_program
from shared.model import Platform

_NATIVE = {"x86_64": ("amd64", ""), "aarch64": ("arm64", ""), "armv7l": ("arm", "v7"), "riscv64": ("riscv64", ""), "s390x": ("s390x", "")}
_NATIVE |= {"ppc64le": ("ppc64le", ""), "i686": ("386", "")}
_BINFMT = "/proc/sys/fs/binfmt_misc"
_FOREIGN = {"arm64": "", "amd64": "", "riscv64": "", "ppc64le": "", "s390x": "", "386": "", "arm": "v7", "mips64": "", "mips64le": ""}
_QEMU = {"amd64": "x86_64", "arm64": "aarch64", "386": "i386", "mips64le": "mips64el"}
_COMPATIBLE = {"amd64": ("386",), "arm64": ("arm",)}
_V2 = {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}
_V3 = _V2 | {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def native_platforms() -> tuple[Platform, ...]:
    """The machine's own, first."""
    machine = os.uname().machine
    native, variant = _NATIVE.get(machine, (machine, ""))
    found = [Platform(os="linux", architecture=native, variant=variant)]
    if native == "amd64":
        found += [Platform(os="linux", architecture="amd64", variant=v) for v in _amd64_variants()]
        found.append(Platform(os="linux", architecture="386"))
    if native == "arm64":
        found += [Platform(os="linux", architecture="arm", variant=v) for v in ("v7", "v6")]
    return tuple(found)


def emulated_platforms() -> tuple[Platform, ...]:
    """What binfmt_misc adds, wherever it is mounted; an emulator for something that runs natively doesn't count."""
    found = [] if _none_registered() else [name for name in _foreign() if _runs(name)]
    return tuple(Platform(os="linux", architecture=name, variant=_FOREIGN[name]) for name in found)


def emulators() -> tuple[Platform, ...]:
    """What an emulator on PATH adds that takes its own place in a container (`buildkit-qemu-…`)."""
    return tuple(Platform(os="linux", architecture=name, variant=_FOREIGN[name]) for name in _foreign() if emulator_of(name))


def emulator_of(architecture: str) -> str:
    """Path of a program that runs others of this architecture, and what those start; "" = there is none."""
    return shutil.which(f"buildkit-qemu-{_QEMU.get(architecture, architecture)}") or ""


def _foreign() -> list[str]:
    own = _NATIVE.get(os.uname().machine, ("", ""))[0]
    return [name for name in _FOREIGN if name not in (own, *_COMPATIBLE.get(own, ()))]


def _none_registered() -> bool:
    """True only where that can be seen. In a container it can't, and the kernel emulates all the same."""
    try:
        return set(os.listdir(_BINFMT)) == {"register", "status"}
    except OSError:
        return False


def _runs(architecture: str) -> bool:
    """Whether the kernel runs a program of it, also where its emulator can't be found (flag F): in another root."""
    program = tiny_program(architecture)
    return _starts(program) and _starts_elsewhere(program)


def _starts(program: bytes) -> bool:
    """Quickly, since mostly it doesn't."""
    fd = os.memfd_create("check", 0)
    try:
        os.write(fd, program)
        path = f"/proc/self/fd/{fd}"
        process = os.posix_spawn(path, [path], {})
    except OSError:
        return False
    finally:
        os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def _starts_elsewhere(program: bytes) -> bool:
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory(prefix="buildmesh-check-") as root:
        with open(os.open(f"{root}/check", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755), "wb") as file:
            file.write(program)
        try:
            done = subprocess.run(["/check"], check=False, capture_output=True, timeout=10, preexec_fn=lambda: os.chroot(root))
        except (OSError, subprocess.SubprocessError):
            return False
    return done.returncode == 0


def _amd64_variants() -> list[str]:
    try:
        line = next(text for text in Path("/proc/cpuinfo").read_text().splitlines() if text.startswith("flags"))
    except (OSError, StopIteration):
        return []
    flags = set(line.split())
    return [name for name, needed in (("v2", _V2), ("v3", _V3), ("v4", _V4)) if needed <= flags]
