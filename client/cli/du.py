"""`buildmesh du`."""

from __future__ import annotations

import argparse

from client.cli import reach
from client.cli.table import age, table
from client.progress.steps import seconds, size_text
from shared.pb import control_pb2


def configure(parser: argparse.ArgumentParser) -> None:
    reach.configure(parser)
    parser.add_argument("--filter", action="append", default=[], metavar="FILTER", help="such as type==regular (repeatable)")
    parser.add_argument("-v", "--verbose", action="store_true", help="all that is known of each record")


def run(arguments: argparse.Namespace) -> int:
    def work() -> None:
        request = control_pb2.DiskUsageRequest(filter=arguments.filter)
        with reach.asked(arguments) as daemon:
            records = list(daemon.ask("DiskUsage", request, control_pb2.DiskUsageResponse).record)
        print(_details(records) if arguments.verbose else summary(records))
        print(_totals(records))

    return reach.complete(work)


def summary(records: list[control_pb2.UsageRecord]) -> str:
    rows = [("ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED")]
    for r in sorted(records, key=lambda r: r.Size, reverse=True):
        mark = "*" if r.Mutable else ""
        used = age(seconds(r.LastUsedAt)) if r.HasField("LastUsedAt") else ""
        rows.append((r.ID + mark, str(not r.InUse).lower(), size_text(r.Size), used))
    return table(rows)


def _details(records: list[control_pb2.UsageRecord]) -> str:
    return "\n\n".join(
        table(
            [
                ("ID:", r.ID),
                *(("Parent:", parent) for parent in r.Parents),
                ("Created at:", r.CreatedAt.ToJsonString()),
                ("Mutable:", str(r.Mutable).lower()),
                ("Reclaimable:", str(not r.InUse).lower()),
                ("Shared:", str(r.Shared).lower()),
                ("Size:", size_text(r.Size)),
                ("Description:", r.Description),
                ("Usage count:", str(r.UsageCount)),
                ("Type:", r.RecordType),
            ]
        )
        for r in records
    )


def _totals(records: list[control_pb2.UsageRecord]) -> str:
    free = sum(r.Size for r in records if not r.InUse)
    return f"Reclaimable:\t{size_text(free)}\nTotal:\t\t{size_text(sum(r.Size for r in records))}"
