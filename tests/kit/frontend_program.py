"""A frontend of the tests: `python -m tests.kit.frontend_program WHAT [NUMBER]` speaks to the bridge over its stdin and stdout."""

import asyncio
import os
import sys
from typing import NoReturn

from shared.errors import BuildmeshError, Code
from shared.http2 import Connection, Role
from shared.pb import gateway_pb2 as pb
from shared.rpc import CallOpener, Link
from shared.rpc.status import Status, pack_details

BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"


async def talk(what: str, number: int) -> None:
    loop = asyncio.get_running_loop()
    os.set_blocking(0, False)
    link = Link(Connection(role=Role.CLIENT), write=lambda data: os.write(1, data), on_end=lambda reason: None)
    loop.add_reader(0, lambda: link.receive(os.read(0, 1 << 20) or left_alone()))
    client = CallOpener(link, authority="localhost")
    link.flush()
    await WHAT[what](client, number)


def left_alone() -> NoReturn:
    """Whoever started this has gone without ending it: nobody would end a loop on a closed stdin."""
    os._exit(1)


async def give(client: CallOpener, **metadata: bytes) -> None:
    result = pb.ReturnRequest(result=pb.Result(metadata=metadata))
    await client.unary(BRIDGE + "Return", result.SerializeToString())


async def ask(client: CallOpener, path: str) -> str:
    """The error that a ReadFile of somebody else's result ends with."""
    try:
        await client.unary(BRIDGE + "ReadFile", pb.ReadFileRequest(Ref="of-another-build", FilePath=path).SerializeToString())
    except BuildmeshError as error:
        return error.message
    return ""


async def flood(client: CallOpener, number: int) -> None:
    """So many calls, hundreds at a time."""
    left = iter(range(number))

    async def some() -> None:
        for n in left:
            await ask(client, str(n))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(500):
            tasks.create_task(some())
    await give(client, last=(await ask(client, "x")).encode())


async def huge(client: CallOpener, number: int) -> None:
    async with await client.open(BRIDGE + "Solve") as call:
        try:
            await call.send_chunk(b"\x00" + number.to_bytes(4, "big") + bytes(1 << 20))
            await call.recv()
        except BuildmeshError as error:
            await give(client, said=error.message.encode())


async def large(client: CallOpener, number: int) -> None:
    """So many calls of 15 MiB at once."""
    request = pb.ReadFileRequest(Ref="x" * (15 << 20)).SerializeToString()
    refused = 0

    async def one() -> None:
        nonlocal refused
        try:
            await client.unary(BRIDGE + "ReadFile", request)
        except BuildmeshError:
            refused += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(number):
            tasks.create_task(one())
    await give(client, refused=str(refused).encode())


async def twice(client: CallOpener, number: int) -> None:
    await give(client, first=b"1")
    try:
        await give(client, second=b"2")
    except BuildmeshError as error:
        sys.stderr.write(error.message)


async def error(client: CallOpener, number: int) -> None:
    request = pb.ReturnRequest()
    request.error.ParseFromString(pack_details(Status(code=Code.UNKNOWN, message="my own words")))
    await client.unary(BRIDGE + "Return", request.SerializeToString())
    sys.exit(number)


async def then_fail(client: CallOpener, number: int) -> None:
    await give(client)
    sys.exit(number)


async def stay(client: CallOpener, number: int) -> None:
    """Calls that are never answered, and no end."""
    async with asyncio.TaskGroup() as tasks:
        for _ in range(number):
            tasks.create_task(ask(client, "never"))


WHAT = {"flood": flood, "huge": huge, "large": large, "twice": twice, "error": error, "then_fail": then_fail, "stay": stay}

if __name__ == "__main__":
    asyncio.run(talk(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))
