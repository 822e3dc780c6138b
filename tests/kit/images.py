"""Base images made of Debian packages, since no public registry can be reached: busybox, and a small Debian with a C compiler.

Each is an OCI layout with the tag `latest`, made once in $BUILDMESH_CACHE/images (default ~/.cache/buildmesh/images).
`python -m tests.kit.images NAME` makes one and prints its folder.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.kit.oci_layout import Layout, Tree
from tests.kit.parts.process import program

VERSION: Final = "2"
"""Changes when what the makers below make changes."""

PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEBIAN_PACKAGES: Final = ("gcc", "libc6-dev", "make", "ca-certificates", "xz-utils")


def image(name: str) -> Path:
    """The layout folder of `busybox` or `debian`; makes it when it is not there (debian: half a minute)."""
    folder = _cache() / f"{name}-{VERSION}"
    with _locked(name):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=_cache()) as work:
                made = Path(work) / "layout"
                MAKERS[name](Layout(made), Path(work))
                made.rename(folder)
    return folder


def push(name: str, host: str, repository: str | None = None, tag: str = "latest") -> str:
    """Copies an image to the registry at `host` (localhost:port, plain HTTP) and returns its name there."""
    return push_layout(image(name), f"{host}/{repository or name}:{tag}")


def push_layout(folder: Path, reference: str, tag: str = "latest") -> str:
    """Copies what `tag` names in an OCI layout to `reference` in a plain HTTP registry."""
    skopeo = program("skopeo", "tests/tools/debian test")
    argv = [
        skopeo,
        "--insecure-policy",
        "copy",
        "--quiet",
        "--all",
        "--dest-tls-verify=false",
        f"oci:{folder}:{tag}",
        f"docker://{reference}",
    ]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, timeout=120)
    return reference


def _busybox(layout: Layout, _work: Path) -> None:
    busybox = Path(program("busybox", "tests/tools/debian test")).resolve()
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True, timeout=10).stdout.split()
    tree = Tree()
    for folder in ("bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "usr/bin", "usr/sbin", "var"):
        tree.folder(folder)
    tree.folder("tmp", 0o1777)
    tree.file("bin/busybox", busybox.read_bytes(), 0o755)
    for applet in sorted(set(applets) - {"busybox"}):
        tree.link(f"bin/{applet}", "busybox")
    tree.file(
        "etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"
    )
    tree.file("etc/group", "root:x:0:\ndaemon:x:1:\nstaff:x:50:\nnogroup:x:65534:\n")
    layout.tag(layout.image([tree.done()], {"Env": [PATH], "Cmd": ["sh"]}), "latest")


def debian_root(tar: Path, packages: Sequence[str], *options: str) -> None:
    """A root file system of this machine's Debian release with these packages, as a tar; `options` are mmdebstrap's."""
    argv = [program("mmdebstrap", "tests/tools/debian test"), "--quiet", "--variant=minbase", f"--include={','.join(packages)}"]
    argv += [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "doc", "locale", "info")]
    argv += ["--customize-hook=rm -rf $1/var/lib/apt/lists/* $1/var/cache/apt/*", *options, _codename(), str(tar)]
    env = {**os.environ, "SOURCE_DATE_EPOCH": "0", "TMPDIR": str(tar.parent)}
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, env=env, timeout=600)


def _debian(layout: Layout, work: Path) -> None:
    tar = work / "root.tar"
    debian_root(tar, DEBIAN_PACKAGES)
    layout.tag(layout.image([tar.read_bytes()], {"Env": [PATH], "Cmd": ["bash"]}), "latest")
    tar.unlink()


MAKERS: Final[dict[str, Callable[[Layout, Path], None]]] = {"busybox": _busybox, "debian": _debian}


def _codename() -> str:
    """The release of this machine, since its package sources are known to answer."""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    return "stable"


def _cache() -> Path:
    folder = Path(os.environ.get("BUILDMESH_CACHE") or Path.home() / ".cache/buildmesh") / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _locked(name: str) -> Iterator[None]:
    with (_cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def copy_layout(name: str, to: Path) -> Path:
    """A copy of an image's layout that a test may change."""
    shutil.copytree(image(name), to)
    return to


if __name__ == "__main__":
    print(image(sys.argv[1]))
