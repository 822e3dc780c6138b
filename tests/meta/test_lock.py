"""The lock holds what pyproject.toml asks for, each with hashes, and no address; nothing committed knows this machine."""

import re
import subprocess
import tomllib

import pytest

from tests.meta.sources import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {
    "requirements.lock": PROJECT["dependencies"],
    "requirements-dev.lock": PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"],
}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(lock: str) -> dict[str, int]:
    """Package name -> how many hashes it has."""
    blocks = re.split(r"\n(?=[a-z0-9])", "\n" + (ROOT / lock).read_text(), flags=re.IGNORECASE)
    return {canonical(block.partition("==")[0]): block.count("--hash=sha256:") for block in blocks if "==" in block}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_all_with_hashes(lock: str) -> None:
    """Run `make lock` after a change of the dependencies."""
    found = locked(lock)
    asked = {canonical(re.split(r"[\[<>=!~ ;]", requirement)[0]) for requirement in LOCKS[lock]}

    assert asked - set(found) == set()
    assert [name for name, hashes in found.items() if not hashes] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_address(lock: str) -> None:
    """Where packages come from is the machine's own setting."""
    assert re.findall(r"https?://|--(?:extra-)?index-url|--find-links", (ROOT / lock).read_text()) == []


def test_no_path_of_a_machine() -> None:
    """No committed file names a folder that only one machine has."""
    here = "/" + "work/"
    asked = ["git", "grep", "-lIE", rf"(^|[^A-Za-z0-9_.}}/]){here}(wt|main|scratch|shared|ref|venv|conf|brief)\b"]
    found = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

    assert found.stdout.splitlines() == []
