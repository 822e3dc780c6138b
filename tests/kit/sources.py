"""Real programs that others wrote, taken from package registries at test time."""

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from tests.kit.parts.process import program

TARGETS: Final = "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(SITE) $(RELEASE) $(COMPONENT)"


def debian_source(package: str, to: Path) -> Path:
    """Unpacks a Debian source package below `to` (cached) and returns the folder. No package list of the machine is changed."""
    cache = Path(os.environ.get("BUILDMESH_CACHE") or Path.home() / ".cache/buildmesh") / "sources" / package
    if not any(cache.glob("*.dsc")):
        _download(package, cache)
    description = next(cache.glob("*.dsc"))
    to.mkdir(parents=True, exist_ok=True)
    folder = to / package
    subprocess.run(
        [program("dpkg-source", "tests/tools/debian test"), "--no-check", "-x", str(description), str(folder)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return folder


def _download(package: str, to: Path) -> None:
    asked = ["apt-get", "indextargets", "--format", TARGETS, "Created-By: Packages", "Origin: Debian"]
    sources = sorted(set(subprocess.run(asked, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()))
    assert sources, "apt knows no Debian sources here: run apt-get update"
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent) as name:
        work = Path(name)
        (work / "sources.list").write_text("\n".join(re.sub(r"\s+", " ", line) for line in sources) + "\n")
        for folder in ("lists/partial", "cache/archives/partial", "out"):
            (work / folder).mkdir(parents=True)
        own = {"Dir::Etc::SourceList": work / "sources.list", "Dir::Etc::SourceParts": "-", "Dir::State::Lists": work / "lists"}
        own |= {"Dir::Cache": work / "cache", "APT::Sandbox::User": "root"}
        apt = ["apt-get", *(word for key, value in own.items() for word in ("-o", f"{key}={value}"))]
        subprocess.run([*apt, "-q", "update"], check=True, capture_output=True, timeout=180)
        subprocess.run([*apt, "-q", "source", "--download-only", package], check=True, capture_output=True, cwd=work / "out", timeout=180)
        (work / "out").rename(to)
