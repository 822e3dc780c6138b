"""The Dockerfile frontend's time: definitions, with nothing run, asked of both daemons by one client: `python -m tests.bench.frontends`.

Each question is a gateway Solve without Evaluate in a session of its own, sending the Dockerfile included; the sides take turns. The table
has the median in milliseconds.
"""

import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.kit.dockerfile_cases import Case
from tests.kit.dockerfile_images import push_all
from tests.kit.parts.buildkitd import daemon, our_buildmeshd, real_buildkitd
from tests.kit.parts.registry import registry_server
from tests.kit.real_frontend import RealFrontend, real_frontend

ROUNDS = 9
PLATFORMS = 20


def long_file() -> str:
    """1,000 lines: instructions of every kind."""
    block = (
        "RUN --mount=type=cache,target=/c echo {n} && \\\n    ls -l /{n}\n"
        'ENV A{n}=b{n} C{n}="$A{n} d"\n'
        "COPY --chown=1:2 a{n} b{n}/ /dst/{n}/\n"
        "WORKDIR /w/{n}\n"
        "LABEL l{n}=${{A{n}}}\n"
        "ARG X{n}=1\n"
        "# a comment\n"
        "EXPOSE {n}\n"
        "USER u{n}\n"
    )
    return "FROM alpine\n" + "".join(block.format(n=n) for n in range(1, 100)) + "".join(f"RUN last {n}\n" for n in range(9))


def many_stages() -> str:
    """100 stages, each on the one before and with files of two others."""
    stages = ["FROM alpine AS s0\nRUN zero\n"]
    for n in range(1, 100):
        stages.append(f"FROM s{n - 1} AS s{n}\nRUN step {n}\nCOPY --from=s{n // 2} /a /b{n}\nCOPY --from=s{n // 3} /c /d{n}\n")
    return "".join(stages)


def many_platforms() -> str:
    """A cross build."""
    return (
        "FROM --platform=$BUILDPLATFORM golang:1.22-alpine AS build\nARG TARGETOS TARGETARCH\nWORKDIR /src\nCOPY . .\n"
        'RUN GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /out ./...\nFROM scratch\nCOPY --from=build /out /app\nENTRYPOINT ["/app"]\n'
    )


def cases(folder: Path) -> list[tuple[str, Case]]:
    """Titles and cases."""
    known = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/riscv64", "linux/s390x", "linux/ppc64le", "linux/mips64le"]
    platforms = (known + [f"linux/arm/v{n}" for n in (5, 6)] + [f"linux/made{n}" for n in range(PLATFORMS)])[:PLATFORMS]
    found = [
        ("1,000 lines", long_file(), {}),
        ("1,000 lines, lint", long_file(), {"requestid": "frontend.lint"}),
        ("100 stages", many_stages(), {}),
        (f"{PLATFORMS} platforms", many_platforms(), {"platform": ",".join(platforms)}),
        ("4 lines", "FROM alpine\nRUN a\nCOPY b /c\nCMD d\n", {}),
    ]
    made = []
    for number, (title, text, options) in enumerate(found):
        place = folder / str(number)
        place.mkdir()
        (place / "Dockerfile").write_text(text)
        made.append((title, Case(name=title, folder=place, options=options)))
    return made


def seconds(side: RealFrontend, case: Case) -> float:
    """Of one question. Raises AssertionError for an error."""
    begun = time.perf_counter()
    answer = side.ask(case)
    taken = time.perf_counter() - begun
    assert not answer.get("error"), f"{case.name}: {answer['error']}"
    return taken


def main() -> int:
    """Prints one line a case; 1 when ours is slower anywhere."""
    slower = False
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        registry = stack.enter_context(registry_server(folder / "registry"))
        push_all(registry.url)
        config = f'[registry."docker.io"]\n  mirrors = ["{registry.host}"]\n'
        sides = {
            side: stack.enter_context(real_frontend(stack.enter_context(daemon(folder / side, argv, config=config)).addr))
            for side, argv in (("theirs", real_buildkitd()), ("ours", our_buildmeshd()))
        }
        (folder / "cases").mkdir()
        print("| case | buildkitd ms | buildmeshd ms | ratio |\n|---|---:|---:|---:|")
        for title, case in cases(folder / "cases"):
            taken: dict[str, list[float]] = {side: [] for side in sides}
            for number in range(ROUNDS + 1):
                for side in sides if number % 2 else reversed(sides):
                    taken[side].append(seconds(sides[side], case))
            theirs, ours = (1000 * statistics.median(taken[side][1:]) for side in ("theirs", "ours"))
            slower |= ours > theirs
            print(f"| {title} | {theirs:.0f} | {ours:.0f} | **{ours / theirs:.2f}** |", flush=True)
    return int(slower)


if __name__ == "__main__":
    sys.exit(main())
