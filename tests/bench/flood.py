"""What a frontend that means harm costs others: `python -m tests.bench.flood [KIND=COUNT …]`.

The daemon runs an image whose process makes so many calls on its bridge (tests/tools/llbdump/flood). Meanwhile another client builds
something small again and again. One line a kind: calls a second, the daemon's memory before and at most, the other's median and worst time.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.kit.images import push_layout
from tests.kit.oci_layout import Layout, Tree
from tests.kit.parts.buildkitd import Daemon, daemon, our_buildmeshd
from tests.kit.parts.process import child, program
from tests.kit.parts.registry import Registry, registry_server

KINDS = {
    "read": 1_000_000,
    "ping": 20_000,
    "warn": 100_000,
    "resolve": 100_000,
    "image": 20_000,
    "solve": 100_000,
    "frontend": 20_000,
    "container": 100_000,
    "huge": 200,
}
PAUSE = 1.0
LIMIT = 3600.0


def image(folder: Path, registry: Registry) -> str:
    """The frontend, pushed."""
    tree = Tree().file("flood", Path(program("flood")).read_bytes(), 0o755)
    layout = Layout(folder / "layout")
    layout.tag(layout.image([tree.done()], {"Entrypoint": ["/flood"]}), "latest")
    return push_layout(folder / "layout", f"{registry.host}/flood:latest")


def memory(pid: int) -> int:
    """Resident MB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) // 1024 if found else 0


def build(side: Daemon, context: Path, *options: str) -> list[str]:
    local = [f"--local={name}={context}" for name in ("context", "dockerfile")]
    return [program("buildctl"), "--addr", side.addr, "build", "--progress=plain", *local, *options]


def beside(side: Daemon, folder: Path, number: int) -> float:
    """Seconds of a small build that is in no cache."""
    (folder / "Dockerfile").write_text(f"FROM scratch\nCOPY Dockerfile /{number}\n")
    begun = time.perf_counter()
    subprocess.run(build(side, folder, "--frontend=dockerfile.v0"), check=True, capture_output=True, timeout=300)
    return time.perf_counter() - begun


def flooded(side: Daemon, reference: str, kind: str, count: int, folder: Path) -> str:
    """One row of the table."""
    before, worst, taken = memory(side.part.pid), 0, list[float]()
    options = [f"--opt={name}={value}" for name, value in (("source", reference), ("flood", kind), ("count", count))]
    argv = build(side, folder, "--frontend=gateway.v0", *options)
    begun = time.perf_counter()
    with child(argv, seconds=LIMIT, stdout=subprocess.DEVNULL, stderr=(folder.parent / "said").open("w")) as process:
        while process.poll() is None:
            taken.append(beside(side, folder, len(taken)))
            worst = max(worst, memory(side.part.pid))
            time.sleep(PAUSE)
    seconds = time.perf_counter() - begun
    said = (folder.parent / "said").read_text(errors="replace").strip().rpartition("error: ")[2].removeprefix("failed to solve: ")[-200:]
    times = f"{statistics.median(taken):.2f} | {max(taken):.2f}" if taken else "– | –"
    return f"| {kind} | {count} | {count / seconds:.0f} | {before} | {worst} | {times} | {said!r} |"


def main(wanted: dict[str, int]) -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        registry = stack.enter_context(registry_server(folder / "registry"))
        reference = image(folder, registry)
        side = stack.enter_context(daemon(folder / "ours", our_buildmeshd()))
        (folder / "context").mkdir()
        quiet = [beside(side, folder / "context", n) for n in range(9)]
        print(f"a small build with nothing beside it: {statistics.median(quiet):.2f} s")
        print("| calls | count | a second | MB before | MB at most | small build: median s | worst s | said |")
        print("|---|---:|---:|---:|---:|---:|---:|---|", flush=True)
        for kind, count in wanted.items():
            print(flooded(side, reference, kind, count, folder / "context"), flush=True)


if __name__ == "__main__":
    main({kind: int(count) for kind, _, count in (word.partition("=") for word in sys.argv[1:])} or KINDS)
