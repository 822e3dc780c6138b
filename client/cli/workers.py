"""`buildmesh workers`."""

from __future__ import annotations

import argparse

from client.cli import reach
from client.cli.table import table
from shared.pb import control_pb2, ops_pb2


def configure(parser: argparse.ArgumentParser) -> None:
    reach.configure(parser)
    parser.add_argument("--filter", action="append", default=[], metavar="FILTER", help="such as id==… (repeatable)")
    parser.add_argument("-v", "--verbose", action="store_true", help="labels too")


def run(arguments: argparse.Namespace) -> int:
    def work() -> None:
        request = control_pb2.ListWorkersRequest(filter=arguments.filter)
        with reach.asked(arguments) as daemon:
            found = daemon.ask("ListWorkers", request, control_pb2.ListWorkersResponse)
        rows = [("ID", "PLATFORMS")]
        for worker in found.record:
            rows.append((worker.ID, ",".join(map(platform_text, worker.platforms))))
            if arguments.verbose:
                rows += [("", f"{key}={value}") for key, value in sorted(worker.Labels.items())]
        print(table(rows))

    return reach.complete(work)


def platform_text(platform: ops_pb2.Platform) -> str:
    return "/".join(filter(None, (platform.OS, platform.Architecture, platform.Variant)))
