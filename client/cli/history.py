"""`buildmesh history [ls | logs REF | rm REF…]`."""

from __future__ import annotations

import argparse
import sys

from client.cli import reach
from client.cli.table import age, table
from client.control import Control
from client.progress import make_display
from client.progress.steps import seconds
from shared.errors import InvalidInput
from shared.pb import control_pb2


def configure(parser: argparse.ArgumentParser) -> None:
    reach.configure(parser)
    parser.add_argument("action", nargs="?", choices=("ls", "logs", "rm"), default="ls")
    parser.add_argument("ref", nargs="*", help="of logs and rm")


def run(arguments: argparse.Namespace) -> int:
    def work() -> None:
        with reach.asked(arguments) as daemon:
            match arguments.action:
                case "ls":
                    print(listing(_records(daemon)))
                case "logs":
                    _logs(daemon, _one(arguments.ref))
                case _:
                    if not arguments.ref:
                        raise InvalidInput("rm wants the refs of builds")
                    for ref in arguments.ref:
                        request = control_pb2.UpdateBuildHistoryRequest(Ref=ref, Delete=True)
                        daemon.ask("UpdateBuildHistory", request, control_pb2.UpdateBuildHistoryResponse)

    return reach.complete(work)


def _one(refs: list[str]) -> str:
    if len(refs) != 1:
        raise InvalidInput("logs wants one build's ref")
    return refs[0]


def _records(daemon: Control) -> list[control_pb2.BuildHistoryRecord]:
    request = control_pb2.BuildHistoryRequest(EarlyExit=True)
    events = daemon.listen("ListenBuildHistory", request, control_pb2.BuildHistoryEvent)
    found = {event.record.Ref: event.record for event in events}
    return sorted(found.values(), key=lambda r: seconds(r.CreatedAt), reverse=True)


def listing(records: list[control_pb2.BuildHistoryRecord]) -> str:
    rows = [("REF", "STATUS", "STEPS", "CREATED", "DURATION")]
    for r in records:
        done = r.HasField("CompletedAt")
        state = "running" if not done else "error" if r.HasField("error") else "completed"
        lasted = f"{seconds(r.CompletedAt) - seconds(r.CreatedAt):.1f}s" if done else ""
        steps = f"{r.numCompletedSteps}/{r.numTotalSteps}"
        rows.append((r.Ref, state, steps, age(seconds(r.CreatedAt)), lasted))
    return table(rows)


def _logs(daemon: Control, ref: str) -> None:
    display = make_display("plain", sys.stdout)
    for told in daemon.listen("Status", control_pb2.StatusRequest(Ref=ref), control_pb2.StatusResponse):
        display.update(told)
    display.close()
