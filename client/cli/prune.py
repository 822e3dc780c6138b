"""`buildmesh prune`."""

from __future__ import annotations

import argparse
import re

from client.cli import reach
from client.cli.du import summary
from client.progress.steps import size_text
from shared.pb import control_pb2

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration(text: str) -> int:
    """Nanoseconds of Go's notation, such as `1h30m`."""
    if text == "0":
        return 0
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 48h or 1h30m")
    return int(sum(float(number) * _SECONDS[unit] for number, unit in parts) * 1e9)


def configure(parser: argparse.ArgumentParser) -> None:
    reach.configure(parser)
    parser.add_argument("--all", action="store_true", help="also internal and frontend records")
    parser.add_argument("--filter", action="append", default=[], metavar="FILTER", help="such as type==source.local (repeatable)")
    parser.add_argument("--keep-duration", type=duration, default=0, metavar="TIME", help="keep what was used since, such as 48h")
    for name, text in (
        ("--reserved-space", "never go below"),
        ("--max-used-space", "go below"),
        ("--min-free-space", "until so much is free on the disk"),
    ):
        parser.add_argument(name, type=float, default=0.0, metavar="MB", help=text)


def run(arguments: argparse.Namespace) -> int:
    def work() -> None:
        request = control_pb2.PruneRequest(
            filter=arguments.filter,
            all=arguments.all,
            keepDuration=arguments.keep_duration,
            reservedSpace=int(arguments.reserved_space * 1e6),
            maxUsedSpace=int(arguments.max_used_space * 1e6),
            minFreeSpace=int(arguments.min_free_space * 1e6),
        )
        with reach.asked(arguments) as daemon:
            removed = list(daemon.listen("Prune", request, control_pb2.UsageRecord))
        if removed:
            print(summary(removed))
        print(f"Total:\t{size_text(sum(record.Size for record in removed))}")

    return reach.complete(work)
