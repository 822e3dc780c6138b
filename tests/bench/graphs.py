"""Graphs of tiny vertices, made without a frontend, and a client that has them built over the wire."""

import asyncio
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from client.build import build as whole_build
from client.build import new_id, solve_request
from client.request import BuildRequest
from client.session import attach
from shared.llb import FileAction, FileOp, Input, MkFile, Op, PassthroughOp, encode_op, op_digest
from shared.model import Platform
from shared.pb import control_pb2, ops_pb2
from shared.rpc import CallOpener, connect

_CONTROL: Final = "/moby.buildkit.v1.Control/"
_FAN: Final = 32
"""Inputs of a vertex that only waits for others."""

_PLATFORM: Final = Platform(os="linux", architecture="amd64")


@dataclass(slots=True, kw_only=True)
class Graph:
    """Ops in the order of a definition, inputs first."""

    ops: list[bytes] = field(default_factory=list)

    def add(self, op: Op) -> Input:
        """Its first output."""
        data = encode_op(op)
        self.ops.append(data)
        return Input(digest=op_digest(data), index=0)

    def file(self, name: str, below: Input | None = None) -> Input:
        """One small file on a tree, or on nothing."""
        make = FileAction(input=-1 if below is None else 0, output=0, action=MkFile(path=f"/{name}", data=name.encode()))
        return self.add(Op(kind=FileOp(actions=(make,)), inputs=() if below is None else (below,), platform=_PLATFORM))

    def definition(self, results: Sequence[Input]) -> ops_pb2.Definition:
        """All `results` have to be made; the first one is the build's."""
        while len(results) > 1:
            groups = [tuple(results[at : at + _FAN]) for at in range(0, len(results), _FAN)]
            kind = PassthroughOp(id="all", outputs=(0,))
            results = [self.add(Op(kind=kind, inputs=group, platform=_PLATFORM)) for group in groups]
        self.add(Op(kind=None, inputs=(results[0],)))
        definition = ops_pb2.Definition()
        getattr(definition, "def").extend(self.ops)
        return definition


def wide(count: int) -> ops_pb2.Definition:
    """Vertices that do not depend on each other, none of which was ever built."""
    graph, salt = Graph(), os.urandom(6).hex()
    return graph.definition([graph.file(f"{salt}-{i}") for i in range(count)])


def chains(count: int, length: int) -> ops_pb2.Definition:
    """Chains side by side, each vertex on the one before."""
    graph, salt = Graph(), os.urandom(6).hex()
    tops = []
    for chain in range(count):
        top = None
        for step in range(length):
            top = graph.file(f"{salt}-{chain}-{step}", top)
        assert top is not None
        tops.append(top)
    return graph.definition(tops)


async def build(peer: CallOpener, definition: ops_pb2.Definition | None, request: BuildRequest) -> int:
    """A build with a session and a Status, as a client makes it; how many vertices the client was told of."""
    ref, session = new_id(), new_id()
    order = solve_request(request, ref, session)
    if definition is not None:
        order.Definition.CopyFrom(definition)
    async with attach(peer, session, {}), asyncio.TaskGroup() as tasks:
        told = tasks.create_task(_told(peer, ref))
        await peer.unary(_CONTROL + "Solve", order.SerializeToString())
    return told.result()


async def _told(peer: CallOpener, ref: str) -> int:
    done: set[str] = set()
    async with await peer.open(_CONTROL + "Status") as call:
        await call.send(control_pb2.StatusRequest(Ref=ref).SerializeToString())
        call.close_send()
        async for message in call.messages():
            done |= {vertex.digest for vertex in control_pb2.StatusResponse.FromString(message).vertexes if vertex.HasField("completed")}
    return len(done)


def build_all(addr: str, definitions: Sequence[ops_pb2.Definition]) -> int:
    """All at once over one connection; vertices that were done."""

    async def run() -> int:
        async with connect(addr, within=10) as peer, asyncio.TaskGroup() as tasks:
            builds = [tasks.create_task(build(peer, definition, BuildRequest(frontend=""))) for definition in definitions]
        return sum(task.result() for task in builds)

    return asyncio.run(run())


def build_dockerfiles(addr: str, folders: Sequence[Path]) -> None:
    """A build of each folder, all at once, each over a connection of its own. Raises when one fails."""

    async def one(folder: Path, threads: ThreadPoolExecutor) -> None:
        request = BuildRequest(locals={"context": str(folder), "dockerfile": str(folder)})
        async with connect(addr, within=60) as peer:
            await whole_build(peer, request, lambda status: None, threads=threads, environ={})

    async def run() -> None:
        with ThreadPoolExecutor(4) as threads:
            async with asyncio.TaskGroup() as tasks:
                for folder in folders:
                    tasks.create_task(one(folder, threads))

    asyncio.run(run())


@contextmanager
def idle_sessions(addr: str, count: int) -> Iterator[None]:
    """Clients that hold a session and ask for nothing, each over a connection of its own."""
    ready, leave = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with AsyncExitStack() as stack:
            for _ in range(count):
                peer = await stack.enter_async_context(connect(addr, within=60))
                await stack.enter_async_context(attach(peer, new_id(), {}))
            ready.set()
            await leave.wait()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    try:
        assert ready.wait(120), "the sessions did not open"
        yield
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join(60)
        loop.close()
