"""URLs → bus, blobs and the rest of a Mesh. Each backend's library is imported only when its URL is used."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.blobs.ports import Blobs
from shared.blobs.s3_rights import CLAIMS
from shared.blobs.wrappers import DeduplicatedBlobs, FastSlowBlobs, MeteredBlobs, VerifyingBlobs
from shared.bus.calls import Calls
from shared.bus.ports import Bus
from shared.errors import InvalidInput
from shared.model import Digest, require_safe_id
from shared.run.build_log import BuildLog
from shared.run.certificates import Certificates, role_name
from shared.run.ids import new_id
from shared.run.mesh import Mesh, Readiness
from shared.run.spans import INTERVAL, BusSpans
from shared.session.ports import SessionLinks
from shared.telemetry import Log, LogFormat, Metrics, Tracer, names
from shared.telemetry.exporters import batched, open_exporter, service_name
from shared.telemetry.logs import parse_level
from shared.telemetry.tracing import Sink
from shared.wire.codec import Codec

if TYPE_CHECKING:
    from shared.blobs.s3 import S3Settings

MAX_CLAIM = 64 * 1024 * 1024  # bytes of a message that went through the blob store


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshConfig:
    """The `[mesh]` table, equal for all services.

    `bus`: `memory://` | `nats://[user:password@]host:port[,…]` | `tls://host:port[,tls://…]`.
    `blobs`: `file:///folder` | `s3://[key:secret@]host:port/bucket[/prefix][?tls=true&region=…]` (key and secret else from
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SHARED_CREDENTIALS_FILE). The bucket is made when it isn't there and the key
    may do so (`buildmesh store` makes a bucket, and keys with rights for each service). `tls=true`: the
    server's certificate is for its host and one that the machine trusts; `tls=mesh`: it is the fleet's for minio.buildmesh.
    `certificates`: folder with ca.pem, cert.pem and key.pem (certificates.py), for tls:// (a server called nats.buildmesh), `tls=mesh` and
    the gateways' relays; "" = none: tls:// then trusts what the machine trusts.
    `state`: folder for what this process keeps (its id, near copies of blobs); with `share_state` several processes may be given the same
    one, each takes a numbered folder in it. `near_blobs`: keep copies of remote blobs there.
    `http`: address for health, readiness and metrics, "" = none. `drain_seconds`: how long running work may take after SIGTERM.
    `instance`: this process's id in the fleet, "" = made once and kept in `state`.
    """

    bus: str = "memory://"
    blobs: str = ""
    state: Path = Path("/var/lib/buildmesh")
    share_state: bool = False
    near_blobs: bool = True
    http: str = ""
    instance: str = ""
    certificates: str = ""
    log_level: str = "info"
    log_format: LogFormat = LogFormat.TEXT
    drain_seconds: float = 600.0


class BlobClaims:
    """Big messages through the blob store (shared.bus.frames.Claims)."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def leave(self, data: bytes) -> Digest:
        return await self._blobs.put(data)

    async def fetch(self, digest: Digest) -> bytes:
        async with self._blobs.open(digest) as reader:
            if reader.size > MAX_CLAIM:
                raise InvalidInput(f"a message of {reader.size} bytes is too large")
            return b"".join([chunk async for chunk in reader.chunks()])


def stable_id(state: Path, name: str) -> str:
    """An id that survives restarts: made once, kept in `state`/`name`."""
    path = state / name
    try:
        return require_safe_id(path.read_text().strip(), name)
    except (OSError, ValueError):
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = new_id()
        path.write_text(made)
        path.chmod(0o400)
        return made


async def open_bus(
    url: str, *, kept: Path | None = None, name: str = "anybody", certificates: Certificates | None = None, log: Log | None = None
) -> Bus:
    """Connect; `kept`: the file in which a memory bus keeps its buckets without TTL; `name`: of the service, as the bus knows it.

    Raises InvalidInput for an unknown scheme.
    """
    match scheme := urlsplit(url).scheme:
        case "memory":
            from shared.bus.memory import MemoryBus
            from shared.bus.sqlite_kv import SqliteBuckets

            return MemoryBus(kept=SqliteBuckets(kept) if kept is not None else None)
        case "nats" | "tls":
            from shared.bus.nats import NatsBus

            complain = None if log is None else lambda text: log.error("the bus refuses", error=text)
            if scheme == "nats":
                return await NatsBus.connect(url, name=name, complain=complain)
            context = ssl.create_default_context() if certificates is None else certificates.client()
            server = "" if certificates is None else role_name("nats")
            return await NatsBus.connect(url, name=name, tls=context, server_name=server, complain=complain)
    raise InvalidInput(f"bus {url!r}: known are memory:// and nats://")


def s3_settings(url: str, environment: Mapping[str, str], certificates: Certificates | None) -> "S3Settings":
    """Of an `s3://` URL. Raises InvalidInput when it wants certificates and there are none."""
    from shared.blobs.s3 import S3Settings

    parts = urlsplit(url)
    settings = S3Settings.parse(parts, dict(parse_qsl(parts.query)), environment)
    if not settings.of_fleet:
        return settings
    if certificates is None:
        raise InvalidInput("blobs with tls=mesh: no `certificates` are given")
    return replace(settings, ca=str(certificates.ca), server_name=role_name("minio"))


def open_blobs(
    url: str,
    *,
    near: Path | None = None,
    environment: dict[str, str] | None = None,
    certificates: Certificates | None = None,
    below: str = "",
) -> Any:
    """The store of this URL, verified; a remote one with near copies in `near`, and under its prefix `below`.

    Raises InvalidInput for an unknown scheme.
    """
    parts = urlsplit(url)
    match parts.scheme:
        case "file":
            from shared.blobs.disk import DiskBlobs

            return DiskBlobs(Path(unquote(parts.path)))
        case "s3":
            from shared.blobs.disk import DiskBlobs
            from shared.blobs.s3 import S3Blobs

            settings = s3_settings(url, environment or {}, certificates)
            settings = replace(settings, prefix=settings.prefix + below)
            far = DeduplicatedBlobs(VerifyingBlobs(S3Blobs(settings)))
            return FastSlowBlobs(DiskBlobs(near), far) if near is not None else far
        case "memory":
            from shared.blobs.memory import MemoryBlobs

            return MemoryBlobs()
    raise InvalidInput(f"blobs {url!r}: known are file:// and s3://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What all services of one process share; `mesh_for` makes a Mesh of it."""

    instance: str
    bus: Bus
    blobs: Blobs
    claims: Blobs
    sinks: tuple[Sink, ...]
    log: Log
    metrics: Metrics
    readiness: Readiness
    state: Path
    environment: Mapping[str, str]
    alone: bool
    certificates: Certificates | None


@asynccontextmanager
async def open_parts(config: MeshConfig, *, environment: dict[str, str] | None = None, name: str = "anybody") -> AsyncIterator[Parts]:
    """Open bus and blobs for the length of the block. `environment` is where exporters and S3 credentials are read from.

    `name`: of the process on the bus, its service's.
    """
    environment = environment or {}
    metrics = Metrics()
    alone = urlsplit(config.bus).scheme == "memory"
    instance = config.instance or stable_id(config.state, "instance")
    certificates = Certificates(folder=Path(config.certificates)) if config.certificates else None
    log = Log(level=parse_level(config.log_level), format=config.log_format)
    async with open_exporter(environment) as sinks:
        scheme = urlsplit(config.blobs or "file:").scheme
        blobs = claims = _metered(_blobs_of(config, environment, certificates), metrics, scheme)
        if scheme == "s3":  # where those have access who have none to blobs
            far = open_blobs(config.blobs, environment=environment, certificates=certificates, below=CLAIMS)
            claims = _metered(far, metrics, scheme)
        bus = await open_bus(config.bus, kept=config.state / "kept.db", name=name, certificates=certificates, log=log)
        try:
            async with batched(BusSpans(bus, Codec()), INTERVAL) as to_gateways:
                yield Parts(
                    instance=instance,
                    bus=bus,
                    blobs=blobs,
                    claims=claims,
                    sinks=(*sinks, to_gateways),
                    log=log,
                    metrics=metrics,
                    readiness=Readiness(),
                    state=config.state,
                    environment=environment,
                    alone=alone,
                    certificates=certificates,
                )
        finally:
            await bus.close()


@asynccontextmanager
async def mesh_for(service: str, parts: Parts, *, sessions: SessionLinks) -> AsyncIterator[Mesh]:
    """The Mesh of one service, with calls and spans under its own name. It is ready once it says `readiness.up(service)`."""
    tracer = Tracer(service_name(parts.environment, service), parts.sinks)
    log = Log(level=parts.log.level, format=parts.log.format, fields={"service": service}, current=tracer.current)
    if not parts.alone:  # else everything takes part in everything
        tracer.add_sink(BuildLog(log))
    parts.readiness.expect(service)
    claims = None if parts.alone else BlobClaims(parts.claims)
    async with Calls(parts.bus, claims=claims, tracing=tracer) as calls:
        parts.metrics.gauge(names.CALLS_ASKED).watch(lambda: calls.statistics()["asked"])
        parts.metrics.gauge(names.CALLS_SERVED).watch(lambda: calls.statistics()["served"])
        parts.metrics.gauge(names.QUEUE_DEPTH).watch_labelled(lambda: {(q,): w.depth for q, w in calls.waiting().items()})
        parts.metrics.gauge(names.QUEUE_OLDEST).watch_labelled(lambda: {(q,): w.oldest for q, w in calls.waiting().items()})
        yield Mesh(
            instance=parts.instance,
            bus=parts.bus,
            calls=calls,
            blobs=parts.blobs,
            claims=parts.claims,
            sessions=sessions,
            log=log,
            tracer=tracer,
            metrics=parts.metrics,
            readiness=parts.readiness,
            state=parts.state,
            alone=parts.alone,
            certificates=parts.certificates,
        )


def _blobs_of(config: MeshConfig, environment: dict[str, str], certificates: Certificates | None) -> Blobs:
    url = config.blobs or (config.state / "blobs").absolute().as_uri()
    near = config.state / "near" if config.near_blobs else None
    blobs: Blobs = open_blobs(url, near=near, environment=environment, certificates=certificates)
    return blobs


def _metered(blobs: Blobs, metrics: Metrics, store: str) -> Blobs:
    calls, moved = metrics.counter(names.BLOB_CALLS), metrics.counter(names.BLOB_BYTES)

    def meter(operation: str, outcome: str, size: int) -> None:
        calls.add(1, store, operation, outcome)
        if size:
            moved.add(size, store, "out" if operation == "put" else "in")

    return MeteredBlobs(blobs, meter)
