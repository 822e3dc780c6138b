"""A fuzz target for the Dockerfile frontend.

`python -m tests.property.fuzz_dockerfile [--seconds N] [--seed N] [--keep FOLDER]` changes the golden cases at random (bytes, words, lines,
splices of two files) and checks that each result is parsed or refused within `LIMIT`, that its tree written as a file is read the same, and
that it is converted, linted and outlined or refused. What breaks a check is kept and printed; the exit status tells.
"""

import argparse
import hashlib
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kit.dockerfile_cases import cases
from tests.kit.dockerfile_checks import converted_or_refused, parsed_or_refused, same_when_written

LIMIT = 5
"""Seconds of CPU that one file may take, before it counts as a hang: on a busy machine an innocent one may wait for long."""

TOKENS = (
    *(b"FROM ", b"RUN ", b"COPY ", b"ADD ", b"ENV ", b"ARG ", b"LABEL ", b"ONBUILD ", b"HEALTHCHECK ", b"SHELL ", b"EXPOSE ", b"VOLUME "),
    *(b"<<EOF", b"<<-'E'", b"EOF\n", b"${", b"}", b"$", b":-", b"##", b"%%", b"//", b"\\", b"\\\n", b"`", b"'", b'"', b"[", b"]", b'["a"]'),
    *(b"--from=", b"--mount=type=cache,target=/c", b"--chmod=u+x", b"--link", b"--", b" AS ", b"# escape=`\n", b"# check=error=true\n"),
    *(
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\r\n",
        b"\t",
        b"\n\n",
        "é\u2028\u00a0".encode(),
        b"9" * 40,
        b"a" * 300,
        b"*",
        b"0-65535",
        b"/./",
    ),
)
REQUESTS = ("", "", "frontend.lint", "frontend.outline", "frontend.targets")


class Hang(Exception):
    """A file took longer than LIMIT."""


@contextmanager
def limited() -> Iterator[None]:
    def ring(signum: int, frame: object) -> None:
        raise Hang(f"took more than {LIMIT} s")

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def mutated(seeds: list[bytes], chance: random.Random) -> bytes:
    """One of the seeds after one to eight changes."""
    data = chance.choice(seeds)
    for _ in range(chance.randint(1, 8)):
        data = chance.choice(CHANGES)(data, seeds, chance)
    return data[:20_000]


def _cut(data: bytes, chance: random.Random) -> tuple[int, int]:
    at = chance.randint(0, len(data))
    return at, min(len(data), at + chance.choice((1, 2, 5, 20)))


def _insert(data: bytes, seeds: list[bytes], chance: random.Random) -> bytes:
    at, _ = _cut(data, chance)
    return data[:at] + chance.choice(TOKENS) + data[at:]


def _replace(data: bytes, seeds: list[bytes], chance: random.Random) -> bytes:
    at, end = _cut(data, chance)
    return data[:at] + chance.choice(TOKENS) + data[end:]


def _delete(data: bytes, seeds: list[bytes], chance: random.Random) -> bytes:
    at, end = _cut(data, chance)
    return data[:at] + data[end:]


def _flip(data: bytes, seeds: list[bytes], chance: random.Random) -> bytes:
    at, _ = _cut(data, chance)
    return data[:at] + bytes((chance.randrange(256),)) + data[at + 1 :]


def _lines(data: bytes, seeds: list[bytes], chance: random.Random) -> bytes:
    lines = data.split(b"\n")
    other = chance.choice(seeds).split(b"\n")
    lines.insert(chance.randint(0, len(lines)), chance.choice(other))
    lines.pop(chance.randrange(len(lines)))
    return b"\n".join(lines)


def _splice(data: bytes, seeds: list[bytes], chance: random.Random) -> bytes:
    other = chance.choice(seeds)
    return data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


def _repeat(data: bytes, seeds: list[bytes], chance: random.Random) -> bytes:
    at, end = _cut(data, chance)
    return data[:at] + data[at:end] * chance.choice((2, 10, 200)) + data[end:]


CHANGES: tuple[Callable[[bytes, list[bytes], random.Random], bytes], ...] = (
    _insert,
    _replace,
    _delete,
    _flip,
    _lines,
    _splice,
    _repeat,
)


def failure(data: bytes, requestid: str) -> str:
    """The traceback of a broken check, "" when all hold."""
    try:
        with limited():
            parsed_or_refused(data)
            same_when_written(data)
            converted_or_refused(data, requestid)
    except Exception:
        return traceback.format_exc()
    return ""


def main(arguments: list[str]) -> int:
    """Prints each kind of failure once, then how many files were tried."""
    parser = argparse.ArgumentParser(description="fuzzes the Dockerfile frontend")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-found"))
    given = parser.parse_args(arguments)
    seeds = [path.read_bytes() for case in cases() if (path := case.folder / "Dockerfile").exists()]
    chance = random.Random(given.seed)
    found: set[str] = set()
    tried, end = 0, time.monotonic() + given.seconds
    while time.monotonic() < end:
        data = mutated(seeds, chance)
        tried += 1
        trace = failure(data, chance.choice(REQUESTS))
        kind = "\n".join(line for line in trace.splitlines() if line.startswith("  File"))
        if trace and kind not in found:
            found.add(kind)
            given.keep.mkdir(parents=True, exist_ok=True)
            kept = given.keep / hashlib.sha256(data).hexdigest()[:12]
            kept.write_bytes(data)
            print(f"== {kept}\n{trace}", flush=True)
    print(f"{tried} files tried, {len(found)} kinds of failure")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
