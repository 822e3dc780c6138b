"""A client that drives a build itself: a Solve without a definition, and the calls of LLBBridge on its build id.

The messages are those of the public API; the connection is our own client's, since only the server is to be judged.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from shared.errors import BuildmeshError
from shared.llb import Constraints, MarshalDefaults, State, encode_definition, image_source, marshal
from shared.model import Platform
from shared.pb import control_pb2, ops_pb2
from shared.pb import gateway_pb2 as pb
from shared.rpc import CallOpener, ClientCall, connect
from shared.run.ids import new_id

BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"
CONTROL = "/moby.buildkit.v1.Control/"
WITHIN = 60.0


@dataclass(slots=True, kw_only=True)
class Ended:
    """A process: what came on each descriptor, its code, and the text of its error."""

    output: dict[int, bytes] = field(default_factory=dict)
    code: int = -1
    error: str = ""


class Processes:
    """One ExecProcess stream."""

    def __init__(self, call: ClientCall) -> None:
        self._call = call
        self._started: dict[str, asyncio.Event] = {}
        self._done: dict[str, asyncio.Event] = {}
        self._ended: dict[str, Ended] = {}
        self._news = asyncio.Condition()

    async def read(self) -> None:
        """Until the stream ends."""
        async for data in self._call.messages():
            message = pb.ExecMessage.FromString(data)
            ended = self._ended[message.ProcessID]
            match message.WhichOneof("Input"):
                case "Started":
                    self._started[message.ProcessID].set()
                case "File":
                    ended.output[message.File.Fd] = ended.output.get(message.File.Fd, b"") + message.File.Data
                    async with self._news:
                        self._news.notify_all()
                case "Exit":
                    ended.code, ended.error = message.Exit.Code, message.Exit.Error.message
                case "Done":
                    self._done[message.ProcessID].set()

    async def say(self, process: str, **what: Any) -> None:
        await self._call.send(pb.ExecMessage(ProcessID=process, **what).SerializeToString())

    async def start(self, container: str, args: Sequence[str], **init: Any) -> str:
        """Its id, once it has started."""
        process = f"{container}:{new_id()}"
        self._started[process], self._done[process], self._ended[process] = asyncio.Event(), asyncio.Event(), Ended()
        fds = init.pop("fds", (1, 2))
        meta = ops_pb2.Meta(args=args, env=init.pop("env", ()), cwd=init.pop("cwd", ""), user=init.pop("user", ""))
        await self.say(process, Init=pb.InitMessage(ContainerID=container, Meta=meta, Fds=fds, **init))
        await self._started[process].wait()
        return process

    async def wait(self, process: str) -> Ended:
        await self._done[process].wait()
        return self._ended[process]

    async def until(self, process: str, text: bytes) -> None:
        """Returns once it has printed `text`."""
        async with asyncio.timeout(WITHIN), self._news:
            await self._news.wait_for(lambda: text in self._ended[process].output.get(1, b""))

    async def run(self, container: str, args: Sequence[str], **init: Any) -> Ended:
        return await self.wait(await self.start(container, args, **init))


class Driver:
    """A build that waits for what is said here."""

    def __init__(self, client: CallOpener, ref: str) -> None:
        self.client, self.ref = client, ref

    async def ask(self, method: str, request: Any, answer: Any, *, build: str = "") -> Any:
        metadata = [("buildkit-controlapi-buildid", build or self.ref)]
        return answer.FromString(await self.client.unary(BRIDGE + method, request.SerializeToString(), metadata=metadata, within=WITHIN))

    async def solve(self, state: State, *, evaluate: bool = False) -> str:
        """The id of the result."""
        definition = encode_definition(marshal(state, MarshalDefaults(platform=Platform(os="linux", architecture="amd64"))))
        request = pb.SolveRequest(allowResultReturn=True, allowResultArrayRef=True, Evaluate=evaluate)
        request.Definition.ParseFromString(definition)
        found: pb.SolveResponse = await self.ask("Solve", request, pb.SolveResponse)
        return str(found.result.ref.id)

    async def image(self, reference: str) -> str:
        return await self.solve(image_source(reference, Constraints()))

    async def container(self, ref: str, *more: ops_pb2.Mount, name: str = "", **changes: Any) -> str:
        """A container whose root is a result."""
        id = name or new_id()
        mounts = [ops_pb2.Mount(dest="/", resultID=ref), *more]
        await self.ask("NewContainer", pb.NewContainerRequest(ContainerID=id, Mounts=mounts, **changes), pb.NewContainerResponse)
        return id

    async def release(self, container: str) -> None:
        await self.ask("ReleaseContainer", pb.ReleaseContainerRequest(ContainerID=container), pb.ReleaseContainerResponse)

    @asynccontextmanager
    async def processes(self) -> AsyncIterator[Processes]:
        metadata = [("buildkit-controlapi-buildid", self.ref)]
        async with await self.client.open(BRIDGE + "ExecProcess", metadata=metadata) as call, asyncio.TaskGroup() as tasks:
            processes = Processes(call)
            reading = tasks.create_task(processes.read())
            yield processes
            reading.cancel()


@asynccontextmanager
async def driven(
    addr: str, *, session: str = "", entitlements: Sequence[str] = (), opts: Mapping[str, str] | None = None
) -> AsyncIterator[Driver]:
    """A client-driven build on the daemon at `addr`; it is ended with an empty result."""
    async with connect(addr) as client, asyncio.TaskGroup() as tasks:
        driver = Driver(client, new_id())
        request = control_pb2.SolveRequest(Ref=driver.ref, Session=session, Entitlements=entitlements, FrontendAttrs=dict(opts or {}))
        solving = tasks.create_task(client.unary(CONTROL + "Solve", request.SerializeToString(), within=WITHIN * 4))
        await driver.ask("Ping", pb.PingRequest(), pb.PongResponse)
        try:
            yield driver
        finally:
            try:
                await driver.ask("Return", pb.ReturnRequest(result=pb.Result()), pb.ReturnResponse)
                await solving
            except BuildmeshError:
                solving.cancel()
