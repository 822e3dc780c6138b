"""Wires the gateway: the public server, the builds it holds, the history, the sessions."""

import asyncio
import grp
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack

from services.gateway.adapters.bridge import ClientBuilds
from services.gateway.adapters.build_metrics import BuildMetrics
from services.gateway.adapters.builds import Builds
from services.gateway.adapters.content import Content
from services.gateway.adapters.control import SERVICE as CONTROL
from services.gateway.adapters.control import Control
from services.gateway.adapters.fleet import Fleet
from services.gateway.adapters.health import Health
from services.gateway.adapters.history import History, Limits
from services.gateway.adapters.recording import Recordings
from services.gateway.adapters.records import BucketRecords
from services.gateway.adapters.reflection import routes as reflection_routes
from services.gateway.adapters.session import Sessions
from services.gateway.adapters.trace import EXPORT, Traces
from services.gateway.adapters.trace_record import SpanRecorder
from services.gateway.config import GatewayConfig
from services.gateway.core.sessions import relay_told
from shared.bridge.service import Bridge
from shared.errors import InvalidInput
from shared.rpc import Call, Handler, Interceptor, Listener, Server, TlsFiles, listen
from shared.run.landings import Landings
from shared.run.mesh import Mesh
from shared.run.sessions import held_here
from shared.session.relay import relay_routes
from shared.telemetry import SpanKind, names
from shared.wire.codec import Codec
from shared.wire.roles import session_users

__all__ = ["run"]

REVISION = "buildmesh"
DRAIN_GRACE = 600.0
_UNTRACED = ("/grpc.health.", "/grpc.reflection.", EXPORT, CONTROL + "Session", CONTROL + "Status")


async def run(config: GatewayConfig, mesh: Mesh) -> None:
    """Serve until cancelled or drained. `mesh.sessions` must be what holds sessions in this process."""
    mesh.readiness.expect("gateway")
    registry = held_here(mesh.sessions)
    listeners = _listeners(config)
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        codec = Codec()
        fleet = Fleet(mesh.bus, codec)
        history = History(mesh.bus, codec, BucketRecords(mesh.bus), mesh.blobs, mesh.clock, _limits(config))
        recordings = Recordings(mesh.bus, codec, mesh.clock, tasks, lambda text: mesh.log.warning(text))
        builds = _builds(mesh, codec, recordings, history)
        mesh.metrics.gauge(names.SESSIONS).watch(lambda: registry.statistics()["sessions"])
        relay = config.relay_told or relay_told(config.relay_address, socket.gethostname())
        sessions = Sessions(gateway=mesh.instance, relay=relay, registry=registry, buckets=mesh.bus, codec=codec, log=mesh.log)
        landings = Landings(owner=mesh.instance, relay=relay, registry=registry, bus=mesh.bus)
        server = _front_door(config, mesh, builds, history, fleet, sessions, landings)
        heard = asyncio.Event()
        background = [
            tasks.create_task(history.run(heard.set), name="history"),
            tasks.create_task(builds.run(), name="builds"),
            tasks.create_task(sessions.renew(), name="session announcements"),
        ]
        await heard.wait()
        if config.relay_address:
            trusted = session_users() if mesh.certificates is not None else None
            await stack.enter_async_context(Server(relay_routes(registry, trusted)).serving([_relay(config, mesh)]))
        async with server.serving(listeners):
            mesh.readiness.up("gateway")
            mesh.log.info("listening", addresses=" ".join(config.addresses))
            await mesh.readiness.draining.wait()
            mesh.readiness.down("gateway")
            try:
                await server.drain(DRAIN_GRACE)
            finally:  # clients that are cut off now may ask another gateway for the same
                mesh.calls.leave()
        for task in background:
            task.cancel()
        recordings.close()


def _builds(mesh: Mesh, codec: Codec, recordings: Recordings, history: History) -> Builds:
    traces = SpanRecorder()
    mesh.tracer.add_sink(traces)
    return Builds(
        gateway=mesh.instance,
        bus=mesh.bus,
        calls=mesh.calls,
        codec=codec,
        recordings=recordings,
        history=history,
        traces=traces,
        tracer=mesh.tracer,
        clock=mesh.clock,
        log=mesh.log,
        metrics=BuildMetrics(mesh.metrics),
    )


def _front_door(
    config: GatewayConfig, mesh: Mesh, builds: Builds, history: History, fleet: Fleet, sessions: Sessions, landings: Landings
) -> Server:
    """Everything that clients may call."""
    control = Control(
        builds=builds,
        history=history,
        fleet=fleet,
        calls=mesh.calls,
        clock=mesh.clock,
        entitlements=config.entitlements,
        version=config.version,
        revision=REVISION,
    )
    routes: dict[str, Handler] = {
        **control.routes(),
        CONTROL + "Session": sessions.session,
        **Bridge(ClientBuilds(builds=builds, fleet=fleet, landings=landings)).routes(),
        **Content(mesh.blobs).routes(),
        **Traces(mesh.tracer).routes(),
        **Health(mesh.readiness.draining).routes(),
    }
    return Server({**routes, **reflection_routes(_services(routes))}, interceptors=[_tracing(mesh)])


def _listeners(config: GatewayConfig) -> list[Listener]:
    tls = TlsFiles(cert=config.tls_cert, key=config.tls_key, ca=config.tls_ca) if config.tls_cert or config.tls_key else None
    gid = _group_id(config.group)
    return [listen(address, tls=tls, gid=gid) for address in config.addresses]


def _relay(config: GatewayConfig, mesh: Mesh) -> Listener:
    """Where other parts of the fleet reach sessions; where it has certificates, nobody else does."""
    return listen(config.relay_address, tls=mesh.certificates.server if mesh.certificates is not None else None)


def _group_id(group: str) -> int | None:
    if not group or group.isdigit():
        return int(group) if group else None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise InvalidInput(f"unknown group {group!r}") from None


def _limits(config: GatewayConfig) -> Limits:
    return Limits(max_entries=config.history_max_entries, max_age=int(config.history_max_age * 1e9))


def _services(routes: Mapping[str, Handler]) -> list[str]:
    names = {path.split("/")[1] for path in routes}
    return sorted(names | {"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"})


def _tracing(mesh: Mesh) -> Interceptor:
    """A server span for each call that does something; its parent is the client's, when it has one."""

    async def trace(call: Call, handler: Handler) -> None:
        if call.method.startswith(_UNTRACED):
            await handler(call)
            return
        parent = call.metadata.get("traceparent")  # of a client, who may name a trace but no build
        with mesh.tracer.span(call.method.lstrip("/"), parent and parent.partition(";")[0], kind=SpanKind.SERVER):
            await handler(call)

    return trace
