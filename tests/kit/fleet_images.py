"""What deploy/compose needs where no public registry can be reached: a base image, Python packages, and the project's own image.

The base image is a Debian that already has every package that deploy/compose/Dockerfile installs, and no package sources: its `apt-get`
lines find nothing to do. The image itself is built by Buildmesh.
"""

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.kit.clients import Buildctl
from tests.kit.images import PATH, debian_root
from tests.kit.oci_layout import Layout
from tests.kit.parts.buildkitd import REPOSITORY
from tests.kit.parts.process import accepts, running

DOCKERFILE: Final = REPOSITORY / "deploy/compose/Dockerfile"
LOCK: Final = REPOSITORY / "requirements.lock"
BASE: Final = "debian:bookworm-slim"
TO_BUILD: Final = ("setuptools", "wheel")
"""What packages without a wheel are built with."""


def packages() -> tuple[str, ...]:
    """The Debian packages that the Dockerfile installs."""
    found = re.findall(r"apt-get install -y --no-install-recommends\s+((?:[\\\n\s]*[a-z0-9][a-z0-9.+-]*)+)", DOCKERFILE.read_text())
    return tuple(sorted({word for words in found for word in words.split() if word != "\\"}))


def base_image() -> Path:
    """An OCI layout with the stand-in of debian:bookworm-slim, tag `latest`; made once for each list of packages (half a minute)."""
    return _made("base", "\n".join(packages()), _base)


def wheels() -> Path:
    """A folder with everything that requirements.lock names, as the host's pip gets it; made once for each lock."""
    return _made("wheels", LOCK.read_text() + sys.version, _wheels)


def build_image(folder: Path, name: str, *, seconds: float = 300) -> Path:
    """The fleet's image as a file for `docker load`, built from deploy/compose/Dockerfile by an all-in-one that lives for this build."""
    folder.mkdir(parents=True, exist_ok=True)
    socket = folder / "up.sock"
    (folder / "pip.conf").write_text("[global]\nno-index = true\n")
    argv = [sys.executable, "-m", "services", "--state", str(folder / "state"), "--addr", f"unix://{socket}"]
    layout = base_image()
    image = folder / "image.tar"
    with running("up", argv, folder=folder, ready=lambda: accepts(str(socket)), env={"PYTHONPATH": str(REPOSITORY)}, grace=20):
        buildctl = Buildctl(addr=f"unix://{socket}", work=folder / "buildctl")
        buildctl.call(
            "build",
            "--progress=plain",
            "--frontend=dockerfile.v0",
            f"--local=context={REPOSITORY}",
            f"--local=dockerfile={DOCKERFILE.parent}",
            f"--local=wheels={wheels()}",
            "--opt=context:wheels=local:wheels",
            f"--oci-layout=base={layout}",
            f"--opt=context:{BASE}=oci-layout://base@{Layout.digest(layout, 'latest')}",
            f"--secret=id=pip,src={folder / 'pip.conf'}",
            f"--output=type=docker,name={name},dest={image}",
            seconds=seconds,
        )
    return image


def _base(folder: Path) -> None:
    tar = folder / "root.tar"
    debian_root(tar, packages(), "--customize-hook=rm -rf $1/etc/apt/sources.list $1/etc/apt/sources.list.d/*")
    layout = Layout(folder)
    layout.tag(layout.image([tar.read_bytes()], {"Env": [PATH], "Cmd": ["bash"]}), "latest")
    tar.unlink()


def _wheels(folder: Path) -> None:
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", str(folder)]
    subprocess.run([*download, "--require-hashes", "-r", str(LOCK)], check=True, stdin=subprocess.DEVNULL, timeout=300)
    subprocess.run([*download, "--no-deps", *TO_BUILD], check=True, stdin=subprocess.DEVNULL, timeout=300)


def _made(kind: str, content: str, make: Callable[[Path], None]) -> Path:
    """A folder in the cache that `make` fills once for each `content`."""
    cache = Path(os.environ.get("BUILDMESH_CACHE") or Path.home() / ".cache/buildmesh") / "fleet"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{kind}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    with _locked(cache / f"{kind}.lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache) as work:
                made = Path(work) / "made"
                made.mkdir()
                make(made)
                made.rename(folder)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    print(wheels(), base_image(), sep="\n")
