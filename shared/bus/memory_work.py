"""A work queue in memory: leases with a time-out, idempotency keys, delayed hand-back."""

import asyncio
import time
from collections import OrderedDict, deque

from shared.bus.ports import Delivery

DEDUPE_SECONDS = 120.0


class MemoryLease:
    """A claimed item; see shared.bus.ports.Lease."""

    def __init__(self, queue: "WorkQueue", delivery: Delivery, attempt: int, ticket: str) -> None:
        self._queue = queue
        self.delivery = delivery
        self.attempt = attempt
        self.ticket = ticket
        self._timer: asyncio.TimerHandle | None = None

    def start(self, seconds: float) -> None:
        """Expire after `seconds` unless kept or finished."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)
        self._queue.claimed(self)

    def _expire(self) -> None:
        self._timer = None
        self._queue.settled(self)
        self._queue.put_back(self)

    def _stop(self) -> bool:
        if self._timer is None:
            return False
        self._timer.cancel()
        self._timer = None
        self._queue.settled(self)
        return True

    async def keep(self) -> None:
        if self._stop():
            self.start(self._queue.ack_wait)

    async def done(self) -> None:
        self._stop()

    async def give_back(self, *, delay: float = 0.0) -> None:
        if not self._stop():
            return
        if delay > 0:
            self.start(delay)
        else:
            self._queue.put_back(self)


class WorkQueue:
    """Items of one subject, oldest first; what is handed back goes to the front, as it is the oldest."""

    def __init__(self, ack_wait: float) -> None:
        self.ack_wait = ack_wait
        self._waiting: deque[tuple[Delivery, int]] = deque()
        self._pullers: deque[asyncio.Future[None]] = deque()
        self._keys: OrderedDict[str, float] = OrderedDict()
        self._claims: dict[str, MemoryLease] = {}
        self._tickets = 0

    def add(self, delivery: Delivery, key: str) -> None:
        """Append, unless this key was added during the last two minutes."""
        now = time.monotonic()
        while self._keys and now - next(iter(self._keys.values())) > DEDUPE_SECONDS:
            self._keys.popitem(last=False)
        if key in self._keys:
            return
        self._keys[key] = now
        self._waiting.append((delivery, 1))
        self._wake()

    def put_back(self, lease: MemoryLease) -> None:
        """Make the leased item available again."""
        self._waiting.appendleft((lease.delivery, lease.attempt + 1))
        self._wake()

    def claimed(self, lease: MemoryLease) -> None:
        """From now on it may be reclaimed."""
        self._claims[lease.ticket] = lease

    def settled(self, lease: MemoryLease) -> None:
        """It no longer may."""
        self._claims.pop(lease.ticket, None)

    async def reclaim(self, ticket: str) -> None:
        """Make the item of this claim available again."""
        if (lease := self._claims.get(ticket)) is not None:
            await lease.give_back()

    def depth(self) -> int:
        """Items that nobody has claimed."""
        return len(self._waiting)

    async def pull(self, within: float) -> MemoryLease | None:
        """Claim the oldest item, waiting up to `within` seconds for one."""
        deadline = asyncio.get_running_loop().time() + within
        while not self._waiting:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._pullers.append(waiter)
            try:
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError:
                self._give_up(waiter)
                return None
            except asyncio.CancelledError:
                self._give_up(waiter)
                raise
        delivery, attempt = self._waiting.popleft()
        self._tickets += 1
        lease = MemoryLease(self, delivery, attempt, f"{delivery.subject}#{self._tickets}")
        lease.start(self.ack_wait)
        return lease

    def _wake(self) -> None:
        while self._pullers:
            waiter = self._pullers.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _give_up(self, waiter: "asyncio.Future[None]") -> None:
        """A puller leaves without work; one that had just been woken passes that on."""
        if waiter in self._pullers:
            self._pullers.remove(waiter)
        elif self._waiting:
            self._wake()
