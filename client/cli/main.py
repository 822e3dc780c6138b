"""Entry point: finds the verb and loads only its module."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Final

VERBS: Final = {
    "build": "build something from a Dockerfile",
    "du": "show what the cache holds",
    "prune": "remove what the cache need not hold",
    "workers": "list the machines that run steps",
    "history": "list, show or remove past builds",
    "top": "show builds, executors, slots and queues now",
    "doctor": "say what this machine lacks, and how to mend it",
    "up": "run all services in this process",
    "certs": "make the certificates and keys of a fleet, and certificates of its clients",
    "store": "make the bucket of a MinIO, and a user for each service of a fleet",
}

SERVER_SIDE: Final = {"up": "services.__main__", "certs": "services.certs", "store": "services.store"}
"""Verbs that are a program of the services', not a client's."""


def usage() -> str:
    lines = [f"  {verb:<10}{text}" for verb, text in VERBS.items()]
    return "\n".join(["usage: buildmesh VERB [options]", "", *lines, "", "`buildmesh VERB --help` tells a verb's options."])


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = arguments[0] if arguments else ""
    if verb in ("", "-h", "--help", "help"):
        print(usage())
        return 0 if verb else 2
    if verb not in VERBS:
        print(f"buildmesh: unknown verb {verb!r}\n\n{usage()}", file=sys.stderr)
        return 2
    try:  # around the import as well: it is the longest part of a short command
        return _run(verb, arguments[1:])
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1


def _run(verb: str, arguments: Sequence[str]) -> int:
    if verb in SERVER_SIDE:
        return int(importlib.import_module(SERVER_SIDE[verb]).main(arguments))
    module = importlib.import_module(f"client.cli.{verb}")
    parser = argparse.ArgumentParser(prog=f"buildmesh {verb}", description=VERBS[verb])
    module.configure(parser)
    return int(module.run(parser.parse_intermixed_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
