"""`buildmesh history [ls | logs REF | rm REF…]`."""

from __future__ import annotations

import argparse
import sys

from client.cli import reach
from client.cli.table import age, table
from client.progress import make_display
from client.progress.steps import seconds
from shared.errors import InvalidInput
from shared.pb import control_pb2
from shared.rpc import CallOpener

_CONTROL = "/moby.buildkit.v1.Control/"


def configure(parser: argparse.ArgumentParser) -> None:
    reach.configure(parser)
    parser.add_argument("action", nargs="?", choices=("ls", "logs", "rm"), default="ls")
    parser.add_argument("ref", nargs="*", help="of logs and rm")


def run(arguments: argparse.Namespace) -> int:
    async def work(peer: CallOpener) -> None:
        match arguments.action:
            case "ls":
                print(listing(await _records(peer)))
            case "logs":
                await _logs(peer, _one(arguments.ref))
            case _:
                for ref in arguments.ref:
                    request = control_pb2.UpdateBuildHistoryRequest(Ref=ref, Delete=True)
                    await peer.unary(_CONTROL + "UpdateBuildHistory", request.SerializeToString())

    return reach.complete(work, arguments)


def _one(refs: list[str]) -> str:
    if len(refs) != 1:
        raise InvalidInput("logs wants one build's ref")
    return refs[0]


async def _records(peer: CallOpener) -> list[control_pb2.BuildHistoryRecord]:
    request = control_pb2.BuildHistoryRequest(EarlyExit=True)
    found: dict[str, control_pb2.BuildHistoryRecord] = {}
    async with await peer.open(_CONTROL + "ListenBuildHistory") as call:
        await call.send(request.SerializeToString())
        call.close_send()
        async for message in call.messages():
            record = control_pb2.BuildHistoryEvent.FromString(message).record
            found[record.Ref] = record
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


async def _logs(peer: CallOpener, ref: str) -> None:
    display = make_display("plain", sys.stdout)
    async with await peer.open(_CONTROL + "Status") as call:
        await call.send(control_pb2.StatusRequest(Ref=ref).SerializeToString())
        call.close_send()
        async for message in call.messages():
            display.update(control_pb2.StatusResponse.FromString(message))
    display.close()
