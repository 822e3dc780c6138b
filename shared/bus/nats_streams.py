"""The streams behind queues, logs and buckets, and who makes them.

Whoever makes a stream decides what the server does with its messages: it may have each of them said again on any subject (`republish`),
past the rights of who wrote it. So only services that are trusted with what a build is make streams (shared.wire.roles); the others say
which one they miss, and wait. All are made from one table, whoever comes first, and again after a bus that has lost its folder.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from shared.errors import Unavailable
from shared.wire import subjects
from shared.wire.roles import makes_streams

WORK_STREAMS = "WORK-"
LOG_STREAM = "LOGS"
KV = "KV_"
QUEUES = (subjects.BUILDS, subjects.EXEC_ANY)
LOG_SUBJECTS = ["build.*.events"]
LOG_SECONDS = 6 * 3600.0
DEDUPE_SECONDS = 120.0
WAIT = 10.0  # seconds that an operation waits for a stream that somebody else has to make
ASK = 0.25
MAX_ASKED = 256  # names that wait to be made; more are dropped, who asked asks again


class StreamMissing(Unavailable):
    """Nobody who may make it has made it yet."""


class Streams:
    """Those that a process uses. `name`: of its service."""

    def __init__(self, client: Any, jetstream: Any, *, name: str, tell: Callable[[str], None]) -> None:
        self._nc, self._js, self._tell = client, jetstream, tell
        self.makes = makes_streams(name)
        self._used: dict[str, Any] = {}  # configurations by name

    async def serve(self) -> None:
        """Begin to make what others ask for, if this process may."""
        if self.makes:
            await self._nc.subscribe(subjects.WANTED, cb=self._wanted, pending_msgs_limit=MAX_ASKED)

    async def _wanted(self, message: Any) -> None:
        config = known_stream(message.data.decode(errors="replace"))
        if config is not None:
            await self._make(config)

    async def use(self, config: Any) -> str:
        """Its name, once it is there. Raises StreamMissing after some seconds."""
        if config.name not in self._used:
            await self.ensure(config)
            self._used[config.name] = config
        return str(config.name)

    async def restore(self) -> None:
        """All that were used are there again."""
        for config in list(self._used.values()):
            await self.ensure(config)

    async def ensure(self, config: Any) -> None:
        """It is there: made, or waited for."""
        if self.makes:
            await self._make(config)
        else:
            await self._await(config)

    async def _make(self, config: Any) -> None:
        from nats.js.errors import BadRequestError

        while not await self._is_there(config.name):
            try:
                await self._js.add_stream(config)
                return
            except BadRequestError:
                await asyncio.sleep(0.1)  # another process makes it right now

    async def _await(self, config: Any) -> None:
        clock = asyncio.get_running_loop().time
        end = clock() + WAIT
        while not await self._is_there(config.name):
            if clock() >= end:
                missing = (
                    f"stream {config.name} is not there yet: this service waits for a gateway, solver or cachestore, which may make it"
                )
                self._tell(missing)
                raise StreamMissing(missing)
            await self._nc.publish(subjects.WANTED, config.name.encode())
            await asyncio.sleep(ASK)

    async def _is_there(self, name: str) -> bool:
        from nats.errors import TimeoutError as NatsTimeout
        from nats.js.errors import NotFoundError, ServiceUnavailableError

        while True:
            try:
                await self._js.stream_info(name)
                return True
            except NotFoundError:
                return False
            except (NatsTimeout, ServiceUnavailableError):  # JetStream is not up yet
                await asyncio.sleep(0.2)


def work_stream(subject: str) -> str:
    """`work.exec.default.linux-amd64` → `WORK-exec`."""
    return WORK_STREAMS + subject.split(".")[1]


def queue_config(subject: str) -> Any:
    """The stream of a work queue."""
    from nats.js import api

    queue = ".".join(subject.split(".")[:2])
    return api.StreamConfig(
        name=work_stream(subject), subjects=[queue, queue + ".>"], retention=api.RetentionPolicy.WORK_QUEUE, duplicate_window=DEDUPE_SECONDS
    )


def log_config() -> Any:
    """The stream of all logs."""
    from nats.js import api

    return api.StreamConfig(name=LOG_STREAM, subjects=LOG_SUBJECTS, max_age=LOG_SECONDS, max_msgs_per_subject=100_000)


def bucket_config(name: str, ttl: float) -> Any:
    """The stream of a bucket, as the library's own buckets are (NATS ADR-8), one value a key."""
    from nats.js import api

    return api.StreamConfig(
        name=KV + name,
        subjects=[f"$KV.{name}.>"],
        allow_rollup_hdrs=True,
        allow_msg_ttl=True,
        deny_delete=True,
        discard=api.DiscardPolicy.NEW,
        duplicate_window=min(ttl, DEDUPE_SECONDS) if ttl else DEDUPE_SECONDS,
        max_age=ttl or None,
        max_msgs_per_subject=1,
    )


def stream_names() -> list[str]:
    """All streams of a fleet."""
    return [LOG_STREAM, *map(work_stream, QUEUES), *(KV + bucket for bucket in subjects.TTL)]


def known_stream(name: str) -> Any:
    """The configuration of a stream of a fleet; None for what is none. Names come from anybody."""
    if name not in stream_names():
        return None
    if name == LOG_STREAM:
        return log_config()
    if name.startswith(WORK_STREAMS):
        return queue_config(next(queue for queue in QUEUES if work_stream(queue) == name))
    bucket = name.removeprefix(KV)
    return bucket_config(bucket, subjects.TTL[bucket])
