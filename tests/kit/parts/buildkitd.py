"""A daemon that speaks BuildKit's API: the real buildkitd, or ours in its place (same flags)."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit.parts.process import Part, accepts, program, running

REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """`addr` is what buildctl's --addr takes."""

    addr: str
    root: Path
    part: Part


def real_buildkitd() -> list[str]:
    """argv of moby's buildkitd."""
    return [program("buildkitd"), "--oci-worker=true", "--containerd-worker=false"]


def our_buildmeshd() -> list[str]:
    """argv of our drop-in, from this checkout, in this Python environment."""
    return [sys.executable, "-m", "services.daemon", "--oci-worker=true", "--containerd-worker=false"]


@contextmanager
def daemon(
    folder: Path,
    argv: Sequence[str],
    *,
    config: str = "",
    flags: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    seconds: float = 20,
) -> Iterator[Daemon]:
    """One of the two above with its state in `folder`/root. `config` is the text of a buildkitd.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    socket_path = folder / "buildkitd.sock"
    toml = folder / "buildkitd.toml"
    toml.write_text(config)
    root = folder / "root"
    full = [*argv, f"--config={toml}", f"--root={root}", f"--addr=unix://{socket_path}", *flags]
    paths = {"PYTHONPATH": str(REPOSITORY), "OTEL_TRACES_EXPORTER": "none", **(env or {})}
    with running("daemon", full, folder=folder, ready=lambda: accepts(str(socket_path)), env=paths, seconds=seconds, grace=20) as part:
        yield Daemon(addr=f"unix://{socket_path}", root=root, part=part)
