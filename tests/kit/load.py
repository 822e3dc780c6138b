"""Load for the chaos tests: builds of different shapes whose output is known before, and what their clients saw."""

import hashlib
import io
import random
import re
import subprocess
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.kit.clients import Buildctl
from tests.kit.parts.process import child

SECONDS = 150.0
"""No build under load may take longer."""

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A build to ask for: a context, how to output it, and the files that have to come out. `steps`: marks that its RUNs print."""

    name: str
    dockerfile: str
    context: Files
    expected: Files
    steps: Sequence[str]
    kind: str = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a client saw. `pause` is the longest time (s) without a new line, `wrong` names files that came out differently."""

    order: Order
    code: int
    said: str
    seconds: float
    pause: float
    wrong: Sequence[str]
    cut_off: Sequence[str] = ()
    """What it said when it lost its gateway and was run again, for each time."""


def ticking(mark: str, seconds: float) -> str:
    """A command that takes `seconds` and says something each half second, so that a pause is seen."""
    ticks = max(int(seconds * 2), 1)
    return f"echo {mark} && for i in $(seq {ticks}); do sleep 0.5; echo tick $i; done"


def chain(image: str, mark: str) -> Order:
    """Four steps, each on the one before."""
    lines = [f"RUN {ticking(f'{mark}-{i}', 1)} && echo {mark} {i} >> /out" for i in range(4)]
    text = "\n".join((f"FROM {image} AS work", *lines, "FROM scratch", "COPY --from=work /out /out", ""))
    out = "".join(f"{mark} {i}\n" for i in range(4)).encode()
    return Order(name=mark, dockerfile=text, context={}, expected={"out": out}, steps=[f"{mark}-{i}" for i in range(4)])


def diamond(image: str, mark: str) -> Order:
    """Three stages side by side on one base, and a fourth from all of them, as a tar."""
    text = f"FROM {image} AS base\nRUN {ticking(f'{mark}-base', 0.5)} && echo {mark} > /base\n"
    for part in "abc":
        text += f"FROM base AS {part}\nRUN {ticking(f'{mark}-{part}', 1.5)} && (cat /base; echo {part}) > /{part}\n"
    text += "FROM scratch\n" + "".join(f"COPY --from={part} /{part} /{part}\n" for part in "abc")
    expected = {part: f"{mark}\n{part}\n".encode() for part in "abc"}
    return Order(name=mark, dockerfile=text, context={}, expected=expected, steps=[f"{mark}-{p}" for p in ("base", *"abc")], kind="tar")


def context(image: str, mark: str) -> Order:
    """Files of the client, hashed by a step."""
    files = {f"src/{i}": hashlib.sha256(f"{mark}{i}".encode()).hexdigest().encode() * 20 for i in range(30)}
    command = f"{ticking(f'{mark}-sum', 1.5)} && cat $(ls /src/* | sort) | sha256sum | cut -c1-64 > /sum"
    text = f"FROM {image} AS work\nCOPY src /src\nRUN {command}\nFROM scratch\nCOPY --from=work /sum /src/7 /\n"
    total = hashlib.sha256(b"".join(files[name] for name in sorted(files))).hexdigest()
    return Order(
        name=mark,
        dockerfile=text,
        context=files,
        expected={"sum": f"{total}\n".encode(), "7": files["src/7"]},
        steps=[f"{mark}-sum"],
    )


def bulk(image: str, mark: str) -> Order:
    """A layer of some size that a second step reads."""
    make = f"{ticking(f'{mark}-make', 0.5)} && yes {mark} | head -c 3000000 > /bulk"
    take = f"{ticking(f'{mark}-take', 1.5)} && sha256sum < /bulk | cut -c1-64 > /sum"
    text = f"FROM {image} AS work\nRUN {make}\nRUN {take}\nFROM scratch\nCOPY --from=work /bulk /sum /\n"
    data = (f"{mark}\n".encode() * (3_000_000 // (len(mark) + 1) + 1))[:3_000_000]
    expected = {"bulk": data, "sum": f"{hashlib.sha256(data).hexdigest()}\n".encode()}
    return Order(name=mark, dockerfile=text, context={}, expected=expected, steps=[f"{mark}-make", f"{mark}-take"], kind="tar")


def cached(image: str, mark: str) -> Order:
    """A step with a cache mount that is locked: one at a time."""
    mount = "--mount=type=cache,target=/cache,id=chaos,sharing=locked"
    command = f"{ticking(f'{mark}-lock', 0.5)} && touch /cache/{mark} && test -e /cache/{mark} && echo {mark} > /out"
    text = f"FROM {image} AS work\nRUN {mount} {command}\n"
    text += "FROM scratch\nCOPY --from=work /out /out\n"
    return Order(name=mark, dockerfile=text, context={}, expected={"out": f"{mark}\n".encode()}, steps=[f"{mark}-lock"])


SHAPES: Sequence[Callable[[str, str], Order]] = (chain, diamond, context, bulk, cached)


def orders(image: str, count: int, seed: int, tag: str = "") -> list[Order]:
    """`count` builds, all shapes in turn; unique, so that none is cached."""
    salt = random.Random(seed)
    return [SHAPES[i % len(SHAPES)](image, f"{tag}s{seed}b{i}x{time.time_ns() % 10**6}{salt.randrange(1000)}") for i in range(count)]


GATEWAY_GONE = re.compile(r"code = Unavailable|connection refused|no such file or directory|error reading from server|connection reset")
"""By this a client knows that not its build has failed but its gateway."""
AGAIN = 5


def build(order: Order, clients: Sequence[Buildctl], folder: Path) -> Seen:
    """Runs it to its end, by the next client after each loss of a gateway, as whoever builds would. Notes when something was said."""
    seen = attempt(order, clients[0], folder)
    for number in range(1, AGAIN * len(clients)):
        if seen.code == 0 or len(clients) == 1 or not GATEWAY_GONE.search(last_words(seen.said)):
            break
        time.sleep(0.5)
        before, seen = seen, attempt(order, clients[number % len(clients)], folder)
        seen = replace(
            seen,
            said=before.said + seen.said,
            seconds=before.seconds + seen.seconds,
            pause=max(before.pause, seen.pause),
            cut_off=(*before.cut_off, last_words(before.said)),
        )
    return seen


def last_words(said: str) -> str:
    """The error that a client ends with."""
    return said[said.rfind("error: ") :] if "error: " in said else said[-500:]


def attempt(order: Order, client: Buildctl, folder: Path) -> Seen:
    """Once."""
    for path, content in {"Dockerfile": order.dockerfile.encode(), **order.context}.items():
        (folder / "context" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "context" / path).write_bytes(content)
    dest = folder / ("out" if order.kind == "local" else "out.tar")
    argv = client.build_argv(folder / "context", "--output", f"type={order.kind},dest={dest}")
    began = last = time.monotonic()
    pause, lines = 0.0, []
    with child(argv, seconds=SECONDS, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            now = time.monotonic()
            pause, last = max(pause, now - last), now
            lines.append(line)
        code = process.wait(10)
    now = time.monotonic()
    wrong = differences(order, dest) if code == 0 else []
    return Seen(order=order, code=code, said="".join(lines), seconds=now - began, pause=max(pause, now - last), wrong=wrong)


def differences(order: Order, dest: Path) -> list[str]:
    """Names of files that are missing, too many, or not what they must be."""
    found = tar_files(dest.read_bytes()) if order.kind == "tar" else folder_files(dest)
    return sorted(name for name in found.keys() | order.expected.keys() if found.get(name) != order.expected.get(name))


def tar_files(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        opened = ((member.name.lstrip("./"), tar.extractfile(member)) for member in tar if member.isreg())
        return {name: file.read() for name, file in opened if file is not None}


def folder_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
