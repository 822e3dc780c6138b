"""A gateway on a real unix socket over the memory bus, with a solver and a cachestore that do as they are told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.gateway.config import GatewayConfig
from services.gateway.service import run
from shared.blobs.memory import MemoryBlobs
from shared.bus.calls import Calls, Handlers, Served
from shared.bus.memory import MemoryBus
from shared.model import Platform
from shared.rpc import connect
from shared.rpc.client import CallOpener
from shared.run.mesh import Mesh, Readiness
from shared.session.registry import SessionRegistry
from shared.telemetry import Log, Metrics, Tracer
from shared.telemetry.logs import Level
from shared.telemetry.tracing import Span
from shared.wire import subjects
from shared.wire.build import BuildEvents, SolveBuild, SolveDone
from shared.wire.codec import Codec
from shared.wire.execute import ExecutorInfo

CODEC = Codec()
Solver = Callable[["Build"], Awaitable[SolveDone]]


@dataclass
class Build:
    """A build as a scripted solver sees it."""

    request: SolveBuild
    bus: MemoryBus
    calls: Calls

    async def say(self, **events: Any) -> None:
        """Publish progress."""
        await self.bus.append(subjects.build_events(self.request.ref), CODEC.encode(BuildEvents(**events)))

    @asynccontextmanager
    async def bridge(self, handlers: Handlers) -> AsyncIterator[None]:
        """Answer bridge calls inside of the context."""
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(self.calls.serve(subjects.build_bridge(self.request.ref), handlers, ready=ready.set))
            await ready.wait()
            yield
            serving.cancel()


async def nothing(build: Build) -> SolveDone:
    """A build without steps."""
    await build.say(last=True)
    return SolveDone()


class Watched(Readiness):
    """Tells when the gateway is up."""

    def __init__(self) -> None:
        super().__init__()
        self.came_up = asyncio.Event()

    def up(self, part: str) -> None:
        super().up(part)
        self.came_up.set()


@dataclass
class World:
    """What a test holds. Set `solver` and `cache` before asking."""

    address: str
    bus: MemoryBus
    blobs: MemoryBlobs
    calls: Calls
    sessions: SessionRegistry
    readiness: Readiness
    spans: list[Span] = field(default_factory=list)
    solver: Solver = nothing
    seen: list[SolveBuild] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[CallOpener]:
        """A connection to the front door."""
        async with connect(self.address) as peer:
            yield peer

    async def solve(self, request: SolveBuild, served: Served) -> SolveDone:
        """Handler of the queue."""
        self.seen.append(request)
        self.begun.set()
        return await self.solver(Build(request, self.bus, self.calls))

    async def add_executor(self, info: ExecutorInfo) -> None:
        """As an executor registers itself."""
        bucket = await self.bus.bucket(subjects.KV_EXECUTORS, ttl=5.0)
        await bucket.put(info.id, CODEC.encode(info))


EXECUTOR = ExecutorInfo(
    id="worker1",
    labels={"org.mobyproject.buildkit.worker.executor": "oci"},
    platforms=(Platform(os="linux", architecture="amd64"),),
)


@asynccontextmanager
async def gateway_world(
    folder: Path, *, bus: MemoryBus | None = None, cache: Handlers | None = None, **config: Any
) -> AsyncIterator[World]:
    """Everything up until the context is left."""
    bus = bus or MemoryBus()
    address = f"unix://{folder}/gateway.sock"
    sessions, readiness, blobs, spans = SessionRegistry(), Watched(), MemoryBlobs(), list[Span]()
    async with Calls(bus) as calls, asyncio.TaskGroup() as tasks:
        mesh = Mesh(
            instance="gateway1",
            bus=bus,
            calls=calls,
            blobs=blobs,
            claims=blobs,
            sessions=sessions,
            log=Log(level=Level.ERROR),
            tracer=Tracer("gateway", (spans.append,)),
            metrics=Metrics(),
            readiness=readiness,
        )
        world = World(address=address, bus=bus, blobs=blobs, calls=calls, sessions=sessions, readiness=readiness, spans=spans)
        running = [
            tasks.create_task(run(GatewayConfig(addresses=(address,), **config), mesh)),
            tasks.create_task(calls.work(subjects.BUILDS, {SolveBuild: world.solve}, slots=asyncio.Semaphore(8))),
            tasks.create_task(calls.serve(subjects.CACHE, cache or {}, queue="cachestore")),
        ]
        await world.add_executor(EXECUTOR)
        async with asyncio.timeout(10):
            await readiness.came_up.wait()
        yield world
        for task in running:
            task.cancel()
