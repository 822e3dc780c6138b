"""Results on their way to the blob store while the build goes on: others find them there, and they outlive this process (adr/0053)."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from services.executor.adapters.materialise import transport_of
from services.executor.ports import Reporter
from shared.bus.calls import Calls
from shared.bus.ports import PubSub
from shared.errors import BuildmeshError, Unavailable
from shared.model import Layer, Ref, is_safe_id
from shared.telemetry import Log
from shared.wire import subjects
from shared.wire.messages import Pack, RefsPublished, Scope

WORKERS = 2
WAITING = 1000  # refs; what is more is published when somebody asks for it
LONGEST = 127  # layers; an image can't have more. Each result is told with its whole chain, which would grow with the square
BATCH = 64  # refs told of in one message
YIELD = 1.0  # seconds that a result waits when all slots are taken
SETTLE = 0.02  # seconds in which what was published together is told together
KNOWN = 1000  # executors that are kept in mind before those that are gone are sorted out
LAST = 30.0  # seconds that a process which stops gives to what still waits


class Packs(Protocol):
    """Packs the layers of a local snapshot."""

    async def pack(self, id: str, request: Pack, report: Reporter) -> tuple[Layer, ...]:
        """See packing.Packer."""
        ...


class Silent:
    """A Reporter that nobody hears."""

    def status(self, id: str, *, current: int = 0, total: int = 0, name: str = "", done: bool = False) -> None:
        return None

    def log(self, stream: int, data: bytes) -> None:
        return None


class Neighbours:
    """Whether there are other executors: each says that it is here, and hears the others.

    Not by the bucket `executors`: who writes a bucket and may follow it could have words of its own delivered anywhere (adr/0041).
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._until: dict[str, float] = {}

    def __bool__(self) -> bool:
        now = asyncio.get_running_loop().time()
        return any(until > now for until in self._until.values())

    async def follow(self, bus: PubSub, ttl: float) -> None:
        """Until cancelled. Who has not been heard for `ttl` seconds is gone."""
        async with asyncio.TaskGroup() as tasks, bus.subscribe(subjects.NEIGHBOURS) as heard:
            tasks.create_task(self._say(bus, ttl / 3), name="here")
            async for delivery in heard:
                self._hear(delivery.data.decode(errors="replace"), ttl)

    async def _say(self, bus: PubSub, every: float) -> None:
        while True:
            with suppress(Unavailable):
                await bus.publish(subjects.NEIGHBOURS, self._own.encode())
            await asyncio.sleep(every)

    def _hear(self, id: str, ttl: float) -> None:
        now = asyncio.get_running_loop().time()
        if id != self._own and is_safe_id(id):
            self._until[id] = now + ttl
        if len(self._until) > KNOWN:
            self._until = {id: until for id, until in self._until.items() if until > now}


class Publisher:
    """Packs what is offered, each ref once, newest first: what was just made is wanted next. While `busy()` it lets the steps go first."""

    def __init__(
        self, *, home: str, packs: Packs, calls: Calls, wanted: "Neighbours | bool", log: Log, busy: Callable[[], bool] = lambda: False
    ) -> None:
        self._busy = busy
        self._home, self._packs, self._calls, self._wanted, self._log = home, packs, calls, wanted, log
        self._waiting: OrderedDict[str, tuple[Ref, Scope]] = OrderedDict()
        self._news = asyncio.Event()
        self._published: list[Ref] = []
        self._done = asyncio.Event()

    def offer(self, refs: Sequence[Ref | None], scope: Scope) -> None:
        """New results of this executor. Never blocks; the oldest of too many are forgotten."""
        if not self._wanted:
            return
        for ref in refs:
            if ref is not None and ref.home == self._home and not ref.layers:
                self._waiting[ref.id] = (ref, scope)
                self._news.set()
        while len(self._waiting) > WAITING:
            self._waiting.popitem(last=False)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(WORKERS):
                tasks.create_task(self._work(), name=f"publish {number}")
            tasks.create_task(self._tell(), name="published")

    async def finish(self) -> None:
        """What still waits, as far as there is time; `run` has ended."""
        try:
            async with asyncio.timeout(LAST):
                while self._waiting:
                    await self._next()
                await self._flush()
        except TimeoutError:
            self._log.warning("results stay unpublished", refs=len(self._waiting))

    async def _work(self) -> None:
        while True:
            await self._news.wait()
            if self._waiting and self._busy():
                await asyncio.sleep(YIELD)
            if self._waiting:
                await self._next()
            else:
                self._news.clear()

    async def _next(self) -> None:
        id, (ref, scope) = self._waiting.popitem()
        try:
            layers = await self._packs.pack(id, transport_of(ref, scope), Silent())
        except Exception as error:  # pruned meanwhile, a full disk, …: whoever needs it asks for it
            self._log.info("a result was not published", ref=id, error=f"{type(error).__name__}: {error}")
            return
        if 0 < len(layers) <= LONGEST:
            self._published.append(Ref(id=id, home=self._home, layers=layers, size=ref.size))
            self._done.set()

    async def _tell(self) -> None:
        while True:
            await self._done.wait()
            await asyncio.sleep(SETTLE)
            await self._flush()

    async def _flush(self) -> None:
        self._done.clear()
        refs, self._published = self._published, []
        for at in range(0, len(refs), BATCH):
            try:
                await self._calls.call(subjects.LAYERS, RefsPublished(refs=tuple(refs[at : at + BATCH])), within=10.0)
                self._log.debug("published", refs=[ref.id for ref in refs[at : at + BATCH]])
            except BuildmeshError as error:
                self._log.warning("what was published could not be told", error=error.message)

    def statistics(self) -> dict[str, int]:
        """Refs that wait."""
        return {"unpublished": len(self._waiting)}
