"""`nats://`: NATS for ephemeral messages, JetStream for work queues, logs and buckets. The library is imported when a bus is opened.

JetStream is a hint (docs/adr): when its streams are gone — the folder was lost — they are made anew and the operation is tried once more.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from shared.bus.cancellation import heeding
from shared.bus.memory import Inflow
from shared.bus.nats_kv import NatsKeyValue
from shared.bus.nats_streams import LOG_STREAM, WORK_STREAMS, StreamMissing, Streams, log_config, queue_config
from shared.bus.nats_work import NatsLease, Pullers
from shared.bus.ports import Delivery, KeyValue, Lease, Subscription
from shared.errors import Unavailable

T = TypeVar("T")

ANYBODY = "anybody"
MAX_COMPLAINTS = 100
ACK_WAIT = 10.0  # seconds without a sign of life until work goes to somebody else; servers keep theirs each second
CONNECT_SECONDS = 2.0
OPERATION_SECONDS = 10.0
PING_SECONDS = 3  # a connection that stalls (a network that swallows everything) is given up after two unanswered pings
PATIENCE = 60.0  # seconds that the first use of a bucket waits for JetStream
RESTARTS = 40  # tries after a lost connection
_NO_HEADERS: Mapping[str, str] = {}


class NatsBus:
    """See shared.bus.ports.Bus. Opened by `connect`."""

    def __init__(self, client: Any, *, ack_wait: float, name: str, tell: Callable[[str], None]) -> None:
        self._nc, self._name = client, name
        self._js = client.jetstream(timeout=OPERATION_SECONDS)
        self._ack_wait = ack_wait
        self._streams = Streams(client, self._js, name=name, tell=tell)
        self._pullers = Pullers(self._js, ack_wait, self._streams.restore)
        self._buckets: dict[str, NatsKeyValue] = {}
        self._followers: set[_Follower] = set()
        self._opening = asyncio.Lock()

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        ack_wait: float = ACK_WAIT,
        name: str = ANYBODY,
        tls: ssl.SSLContext | None = None,
        server_name: str = "",
        complain: Callable[[str], None] | None = None,
    ) -> "NatsBus":
        """Connect, waiting for the server as long as it takes: services start in any order. It reconnects by itself for ever.

        `name`: of the service; its inboxes lie below it, so that they can be its own (nats_rights.py). `tls`, `server_name`: for tls://
        addresses, the name that the server's certificate must have. `complain` hears of what the server refuses, and of streams that nobody
        has made yet.
        """
        import nats

        opened: list[NatsBus] = []

        complaints = _Complaints(complain)

        async def reconnected() -> None:
            for bus in opened:
                await bus._reconnected()

        secured: dict[str, Any] = {} if tls is None else {"tls": tls, "tls_hostname": server_name or None}
        while True:
            try:
                client = await nats.connect(
                    url.split(","),
                    name=name,
                    inbox_prefix=inboxes(name),
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.2,
                    connect_timeout=CONNECT_SECONDS,
                    allow_reconnect=True,
                    error_cb=complaints.hear,
                    reconnected_cb=reconnected,
                    pending_size=64 * 1024 * 1024,
                    ping_interval=PING_SECONDS,
                    max_outstanding_pings=2,
                    **secured,
                )
                break
            except (nats.errors.NoServersError, OSError):
                await asyncio.sleep(0.2)
        complaints.connecting = False
        bus = cls(client, ack_wait=ack_wait, name=name, tell=complaints.tell)
        await bus._streams.serve()
        opened.append(bus)
        return bus

    async def _reconnected(self) -> None:
        """The server may be another one, with empty streams: whoever follows something begins anew where it was."""
        for _ in range(RESTARTS):
            try:
                await self._restart()
                return
            except Unavailable:  # JetStream needs a moment after its server is up
                await asyncio.sleep(0.25)

    async def _restart(self) -> None:
        await self._again(self._streams.restore)
        for bucket in list(self._buckets.values()):
            await self._again(bucket.restart)
        for follower in list(self._followers):
            await self._again(follower.reopen)

    async def _again(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Once more when the streams are gone; errors of the library become ours."""
        from nats.errors import Error, NoRespondersError
        from nats.js.errors import NoStreamResponseError, NotFoundError

        try:
            try:
                return await heeding(operation())
            except (NoStreamResponseError, NotFoundError, NoRespondersError):
                await self._streams.restore()
                return await heeding(operation())
        except (Error, OSError, TimeoutError) as error:
            raise Unavailable(f"the bus: {type(error).__name__}: {error}") from error

    # --- ephemeral

    async def publish(self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        from nats.errors import Error

        try:
            await heeding(self._nc.publish(subject, data, reply=reply, headers=dict(headers) if headers else None))
        except (Error, OSError) as error:
            raise Unavailable(f"the bus: {type(error).__name__}: {error}") from error

    @asynccontextmanager
    async def subscribe(self, subject: str, *, queue: str = "") -> AsyncIterator[Subscription]:
        inflow = Inflow()

        async def received(message: Any) -> None:
            inflow.feed(_delivery(message))

        subscription = await self._nc.subscribe(subject, queue=queue, cb=received)
        try:
            await self._heard_by_server()
            yield inflow
        finally:
            if not self._nc.is_closed:
                await subscription.unsubscribe()

    async def _heard_by_server(self) -> None:
        """What was said so far. A server that is away hears of subscriptions when it comes back."""
        from nats.errors import Error

        while True:
            try:
                await heeding(self._nc.flush())
                return
            except (Error, OSError, TimeoutError) as error:
                if self._nc.is_closed:
                    raise Unavailable(f"the bus: {type(error).__name__}: {error}") from error
            await asyncio.sleep(0.25)

    @property
    def connected(self) -> bool:
        return bool(self._nc.is_connected)

    def new_inbox(self) -> str:
        return self.inbox_of(f"{self._name}-{os.urandom(12).hex()}")

    def inbox_of(self, token: str) -> str:
        return f"{inboxes(token.partition('-')[0])}.{token}"

    # --- work

    async def enqueue(self, subject: str, data: bytes, *, key: str, headers: Mapping[str, str] | None = None) -> None:
        sent = {**(headers or {}), "Nats-Msg-Id": key}

        async def put() -> None:
            await self._js.publish(subject, data, headers=sent, stream=await self._streams.use(queue_config(subject)))

        await self._again(put)

    async def pull(self, subject: str, *, within: float) -> Lease | None:
        async def take() -> Any:
            return await self._pullers.pull(await self._streams.use(queue_config(subject)), subject, within)

        message = await self._again(take)
        return None if message is None else NatsLease(message, _delivery(message))

    async def depth(self, subject: str) -> int:
        async def look() -> int:
            return await self._pullers.depth(await self._streams.use(queue_config(subject)), subject)

        return await self._again(look)

    async def reclaim(self, ticket: str) -> None:
        if ticket.startswith(f"$JS.ACK.{WORK_STREAMS}"):  # whoever gave it may be hostile
            await self.publish(ticket, b"-NAK")

    # --- logs

    async def append(self, subject: str, data: bytes) -> int:
        async def write() -> int:
            return int((await self._js.publish(subject, data, stream=await self._streams.use(log_config()))).seq)

        return await self._again(write)

    @asynccontextmanager
    async def follow(self, subject: str, *, after: int = 0) -> AsyncIterator[Subscription]:
        follower = _Follower(self._js, subject, after)

        async def begin() -> None:
            await self._streams.use(log_config())
            await follower.open()

        await self._again(begin)
        self._followers.add(follower)
        try:
            yield follower.inflow
        finally:
            self._followers.discard(follower)
            if not self._nc.is_closed:
                await follower.close()

    # --- buckets

    async def bucket(self, name: str, *, ttl: float = 0.0) -> KeyValue:
        async with self._opening:  # the same bucket opened twice would be two, of which one is not restarted
            if name not in self._buckets:
                made = NatsKeyValue(self._js, self._streams, name, ttl)
                await self._patiently(made.open)
                self._buckets[name] = made
            return self._buckets[name]

    async def _patiently(self, operation: Callable[[], Awaitable[T]]) -> T:
        """A server that restarts just when a service starts must not end it; nor that those who make streams start after it."""
        until = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                return await self._again(operation)
            except StreamMissing:
                continue  # it has waited
            except Unavailable:
                if asyncio.get_running_loop().time() > until:
                    raise
                await asyncio.sleep(0.25)

    async def close(self) -> None:
        await self._nc.close()


class _Complaints:
    """What the server refuses (rights, certificates, passwords), each text once. Of all else the operation that fails tells its caller."""

    def __init__(self, tell: Callable[[str], None] | None) -> None:
        self._tell = tell
        self.connecting = True
        self._told: set[str] = set()

    async def hear(self, error: Exception) -> None:
        """Called between two tries to connect as well, where a swallowed cancellation (cancellation.py) would else never be heeded."""
        task = asyncio.current_task()
        if self.connecting and task is not None and task.cancelling():
            raise asyncio.CancelledError
        text = str(error)
        refused = isinstance(error, ssl.SSLError) or "permissions violation" in text.lower() or "authorization" in text.lower()
        if refused:
            self.tell(text)

    def tell(self, text: str) -> None:
        """Once."""
        if self._tell is not None and text not in self._told and len(self._told) < MAX_COMPLAINTS:
            self._told.add(text)
            self._tell(text)


class _Follower:
    """A log being followed; `reopen` after the connection was lost goes on behind the last entry seen."""

    def __init__(self, jetstream: Any, subject: str, after: int) -> None:
        self._js, self._subject, self._seen = jetstream, subject, after
        self._subscription: Any = None
        self._created: Any = None
        self.inflow = Inflow()

    async def open(self) -> None:
        from nats.js import api

        self._created = (await self._js.stream_info(LOG_STREAM)).created
        config = api.ConsumerConfig(deliver_policy=api.DeliverPolicy.ALL)
        if self._seen:
            config = api.ConsumerConfig(deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=self._seen + 1)
        self._subscription = await self._js.subscribe(
            self._subject, stream=LOG_STREAM, ordered_consumer=True, config=config, cb=self._received
        )

    async def _received(self, message: Any) -> None:
        sequence = message.metadata.sequence.stream
        if sequence > self._seen:
            self._seen = sequence
            self.inflow.feed(_delivery(message, sequence=sequence))

    async def reopen(self) -> None:
        """When the stream was made anew, from its beginning: numbers begin again."""
        await self.close()
        if (await self._js.stream_info(LOG_STREAM)).created != self._created:
            self._seen = 0
        await self.open()

    async def close(self) -> None:
        from nats.errors import Error

        if self._subscription is not None:
            try:
                await self._subscription.unsubscribe()
            except Error:
                return  # it went with the connection


def inboxes(name: str) -> str:
    """All inboxes of a service lie below this, so that nobody else need be allowed to listen there."""
    return f"_INBOX.{name}"


def _delivery(message: Any, *, sequence: int = 0) -> Delivery:
    """The library's message as ours. «Nobody listens» comes from the server as an empty message with status 503."""
    return Delivery(
        subject=message.subject, data=message.data, reply=message.reply or "", sequence=sequence, headers=message.headers or _NO_HEADERS
    )
