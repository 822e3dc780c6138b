"""Build contexts and Dockerfiles of the scenarios. All content is made from a fixed seed, so both sides and all rounds see the same."""

import random
from pathlib import Path

FILE_SIZE = 3_000


def many_files(folder: Path, count: int, *, per_folder: int = 100) -> Path:
    """`count` files of 3 KB, a hundred in a folder."""
    source = random.Random(count)
    for number in range(count):
        home = folder / f"d{number // per_folder:03d}"
        if number % per_folder == 0:
            home.mkdir(parents=True, exist_ok=True)
        (home / f"file{number:05d}.txt").write_bytes(source.randbytes(FILE_SIZE))
    return folder


def one_file(folder: Path, megabytes: int) -> Path:
    """One file that does not compress."""
    folder.mkdir(parents=True)
    source = random.Random(megabytes)
    with (folder / "big").open("wb") as file:
        for _ in range(megabytes):
            file.write(source.randbytes(1 << 20))
    return folder


def few_files(folder: Path, count: int) -> Path:
    """`count` small files, all in one folder."""
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"f{number}").write_text(f"file {number}\n")
    return folder


def chain(base: str, steps: int, command: str = "echo {i} > /f{i}") -> str:
    """A Dockerfile of `steps` RUN, each on top of the one before; the build argument NONCE makes them all new."""
    runs = "".join(f"RUN {command.format(i=i)}\n" for i in range(steps))
    return f"FROM {base}\nARG NONCE\nRUN echo $NONCE > /nonce\n{runs}"


def fan(base: str, stages: int) -> str:
    """`stages` RUN that know nothing of each other, gathered in a last stage."""
    parts = "".join(f"FROM {base} AS s{i}\nARG NONCE\nRUN echo $NONCE {i} > /out{i}\n" for i in range(stages))
    return parts + "FROM scratch\n" + "".join(f"COPY --from=s{i} /out{i} /\n" for i in range(stages))


def copies(base: str, count: int) -> str:
    """`count` COPY of one file each."""
    lines = "".join(f"COPY f{i} /d/f{i}\n" for i in range(count))
    return f"FROM {base}\nARG NONCE\nRUN echo $NONCE > /nonce\n{lines}"
