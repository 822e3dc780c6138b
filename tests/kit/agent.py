"""A real ssh-agent with one key, and the programs that speak to it from within a step."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit.parts.process import accepts, program, running

STEPS = (
    "COPY --chmod=755 root/ /\nRUN --mount=type=ssh ssh-add -l > /out/keys && ssh-keygen -q -Y sign -n buildmesh -f /key.pub /out/word\n"
)
"""Dockerfile lines for a context that has `step_files`: the agent's keys in /out/keys, and its signature of a word in /out/word.sig."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """`socket` is where it listens, `public` its key's line, `fingerprint` as `ssh-add -l` tells it."""

    socket: Path
    public: str
    fingerprint: str

    def signed(self, word: bytes, signature: Path) -> bool:
        """Whether this agent's key made the signature (`ssh-keygen -Y verify`)."""
        allowed = signature.parent / "allowed"
        allowed.write_text(f"builder {self.public}")
        asked = [program("ssh-keygen"), "-q", "-Y", "verify", "-n", "buildmesh", "-I", "builder", "-f", str(allowed), "-s", str(signature)]
        return subprocess.run(asked, input=word, capture_output=True, timeout=20, check=False).returncode == 0


@contextmanager
def agent_with_key(folder: Path) -> Iterator[Agent]:
    """An agent for the length of a block; its key exists nowhere else."""
    folder.mkdir(parents=True)
    socket, key = folder / "agent.sock", folder / "key"
    with running("agent", ["ssh-agent", "-D", "-a", str(socket)], folder=folder, ready=lambda: accepts(str(socket))):
        subprocess.run([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "one key", "-f", str(key)], check=True, timeout=20)
        subprocess.run([program("ssh-add"), "-q", str(key)], check=True, env={"SSH_AUTH_SOCK": str(socket)}, timeout=20)
        key.unlink()
        told = subprocess.run([program("ssh-keygen"), "-l", "-f", f"{key}.pub"], check=True, capture_output=True, text=True, timeout=20)
        yield Agent(socket=socket, public=Path(f"{key}.pub").read_text(), fingerprint=told.stdout.split()[1])


def step_files(agent: Agent, word: bytes) -> dict[str, str | bytes]:
    """What STEPS need in their context: this machine's ssh-add and ssh-keygen with libraries, the public key, the word to sign."""
    found = {path.lstrip("/"): path for name in ("ssh-add", "ssh-keygen") for path in _with_libraries(program(name))}
    return {**{f"root/{at}": Path(path).read_bytes() for at, path in found.items()}, "root/key.pub": agent.public, "root/out/word": word}


def _with_libraries(path: str) -> list[str]:
    told = subprocess.run([shutil.which("ldd") or "ldd", path], check=True, capture_output=True, text=True, timeout=20).stdout
    return [path, *re.findall(r"(?:=> |^\s*)(/\S+) \(0x", told, re.MULTILINE)]
