"""Strangers look at what was built: skopeo copies, umoci unpacks, runc runs."""

import hashlib
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

from tests.kit.clients import run
from tests.kit.parts.process import program


def fetch(reference: str, to: Path) -> Path:
    """A registry image as an OCI layout with tag `latest`."""
    skopeo = [program("skopeo", "tests/tools/debian test"), "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]
    run([*skopeo, f"docker://{reference}", f"oci:{to}:latest"])
    return to


def convert(archive: Path, kind: str, to: Path) -> Path:
    """An `oci-archive` or `docker-archive` file as an OCI layout with tag `latest`."""
    skopeo = [program("skopeo", "tests/tools/debian test"), "--insecure-policy", "copy", "--quiet"]
    run([*skopeo, f"{kind}:{archive}", f"oci:{to}:latest"])
    return to


def inspect(layout: Path) -> dict[str, Any]:
    """The image's configuration."""
    raw = run([program("skopeo"), "inspect", "--config", "--raw", f"oci:{layout}:latest"])
    config: dict[str, Any] = json.loads(raw)
    return config


def manifest(layout: Path) -> dict[str, Any]:
    raw = run([program("skopeo"), "inspect", "--raw", f"oci:{layout}:latest"])
    found: dict[str, Any] = json.loads(raw)
    return found


def unpack(layout: Path, bundle: Path) -> Path:
    """The root file system, as a bundle that runc can run; returns the bundle's folder."""
    umoci = program("umoci", "tests/tools/debian test")
    run([umoci, "unpack", "--image", f"{layout}:latest", str(bundle)])
    return bundle


def run_bundle(bundle: Path, *command: str, seconds: float = 30) -> str:
    """stdout of a command (default: the image's own) run by runc in an unpacked bundle, without network."""
    file = bundle / "config.json"
    spec = json.loads(file.read_text())
    spec["process"]["terminal"] = False
    spec.setdefault("linux", {}).pop("cgroupsPath", None)
    if command:
        spec["process"]["args"] = list(command)
    file.write_text(json.dumps(spec))
    name = f"judge-{os.getpid()}-{hashlib.sha256(str(bundle).encode()).hexdigest()[:12]}"
    argv = [program("runc", "tests/tools/debian run"), "--root", str(bundle.parent / "runc"), "run", name]
    done = subprocess.run(argv, cwd=bundle, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def tree(root: Path) -> dict[str, tuple[str, int, int, int, str]]:
    """Path -> (kind, mode, uid, gid, content digest or link target), for comparing two roots."""
    found = {}
    for path in sorted(root.rglob("*")):
        about = path.lstat()
        match stat.S_IFMT(about.st_mode):
            case stat.S_IFREG:
                kind, content = "file", hashlib.sha256(path.read_bytes()).hexdigest()
            case stat.S_IFLNK:
                kind, content = "link", str(path.readlink())
            case stat.S_IFDIR:
                kind, content = "folder", ""
            case other:
                kind, content = f"{other:o}", str(about.st_rdev)
        found[str(path.relative_to(root))] = (kind, stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid, content)
    return found
