"""Executors over the bus: who is there, who gets a piece of work, and what happens when one falls silent."""

import asyncio
import hashlib
import platform as host
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from services.solver.adapters.admission import Admission, Load
from services.solver.adapters.waiting_notes import WaitingNotes
from services.solver.core.graph import DEFAULT_CLASS, LlbOp
from services.solver.core.vertex import ContentSelector, Digest
from services.solver.ports import Heard
from shared.bus.calls import Calls
from shared.bus.ports import Bus, Entry
from shared.errors import CallLost, Exhausted, InvalidInput, Unavailable
from shared.llb import Resources
from shared.model import Digest as ContentDigest
from shared.model import Layer, Platform, Ref
from shared.model.workers import default_platform, is_native
from shared.pb import ops_pb2 as pb
from shared.telemetry import Histogram, Log
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.messages import (
    Compression,
    ContentHash,
    ContentHashed,
    ExecutorInfo,
    FileData,
    FileStats,
    HashSelector,
    OpDone,
    Pack,
    Packed,
    ReadRefDir,
    ReadRefFile,
    ResolveSource,
    RunOp,
    Scope,
    SourceResolved,
    StatRefFile,
    TaskProgress,
    Worker,
)

ATTEMPTS = 4
ABSENT = 1.5  # seconds that the bus may say that nobody listens there
HOME_WITHIN = 10.0  # seconds for an executor that holds the inputs to take a call
UNSERVED = 10.0  # seconds that a pool may stand empty until its work goes to another one


class ExecutorFleet:
    """The executors that are alive, as they say themselves in the KV bucket."""

    def __init__(self, bus: Bus, log: Log) -> None:
        self._bus = bus
        self._log = log
        self._codec = Codec((ExecutorInfo,))
        self._alive: dict[str, ExecutorInfo] = {}
        self._waiting: dict[_Waiting, None] = {}

    async def watch(self) -> None:
        """Keep up to date, until cancelled."""
        bucket = await self._bus.bucket(subjects.KV_EXECUTORS, ttl=subjects.TTL[subjects.KV_EXECUTORS])
        async with bucket.watch() as changes:
            async for key, entry in changes:
                self._take(key, entry)
                self._look_after_waiting()

    def _take(self, key: str, entry: Entry | None) -> None:
        if entry is None:
            self._alive.pop(key, None)
            return
        try:
            info = self._codec.decode(entry.value).body
        except InvalidInput as error:
            self._log.warning("an executor's record can't be read", executor=key, error=str(error))
            return
        if isinstance(info, ExecutorInfo) and info.id == key:
            self._alive[key] = info

    def workers(self) -> tuple[Worker, ...]:
        """Those of the default platform first (frontends take the first one's for their own), then by id."""
        default = self.default_platform()
        infos = sorted(self._alive.values(), key=lambda info: (not is_native(info.platforms, default), info.id))
        return tuple(Worker(id=info.id, labels=info.labels, platforms=info.platforms) for info in infos)

    def default_platform(self) -> Platform:
        """What a build means that names none."""
        return default_platform((info.platforms[0] for info in self._alive.values() if info.platforms), host.machine())

    def lost(self, executor: str) -> None:
        """It fell silent: not asked again until it renews its record."""
        self._alive.pop(executor, None)

    def is_alive(self, executor: str) -> bool:
        """True while it renews its record."""
        return executor in self._alive

    def takes(self, executor: str, queue: str) -> bool:
        """True when it lives, does not drain, and could have pulled this from `queue` as well."""
        info = self._alive.get(executor)
        return info is not None and not info.draining and queue in queues_of(info)

    def settled(self, lease: str, queue: str) -> str:
        """The executor of this pool where a build does what is too small to be spread; stays as long as none comes or goes. "" = none."""
        there = [id for id in self._alive if self.takes(id, queue)]
        return max(there, key=lambda id: hashlib.sha256(f"{lease}/{id}".encode()).digest(), default="")

    def idlest(self, *, but: str = "") -> str:
        """The executor with the least to do; `but` that one only when there is no other. Raises Unavailable when there is none."""
        there = sorted(self._alive.values(), key=lambda info: (info.id == but, info.draining, info.busy, info.id))
        if not there:
            raise Unavailable("there is no executor")
        return there[0].id

    def load(self, queue: str) -> Load:
        """All that pull from it, together."""
        infos = [info for info in self._alive.values() if queue in queues_of(info)]
        return Load(executors=len(infos), slots=sum(info.slots for info in infos), busy=sum(info.busy for info in infos))

    def is_served(self, queue: str) -> bool:
        """True while somebody pulls from it."""
        return any(queue in queues_of(info) for info in self._alive.values())

    def queue_for(self, wanted: Platform, *, runs_code: bool, klass: str = DEFAULT_CLASS) -> str:
        """The pool for this platform: native, else emulated; the default one when no code runs, or nobody offers it (it fails there)."""
        platform = wanted if runs_code else self.default_platform()
        for emulated in (False, True):
            queue = subjects.exec_queue(platform, klass, emulated=emulated)
            if self.is_served(queue):
                return queue
        return subjects.exec_queue(self.default_platform(), klass)

    @asynccontextmanager
    async def waiting_in(self, queue: str, again: Callable[[], str], patience: asyncio.Timeout) -> AsyncIterator[None]:
        """Inside, `patience` runs out when nobody pulls from `queue` any more and `again()` names another one."""
        waiting = _Waiting(queue, again, patience)
        self._waiting[waiting] = None
        try:
            yield
        finally:
            del self._waiting[waiting]

    def _look_after_waiting(self) -> None:
        now = asyncio.get_running_loop().time()
        for waiting in list(self._waiting):
            lost = not self.is_served(waiting.queue) and waiting.again() != waiting.queue
            if lost and waiting.patience.when() is None:
                waiting.patience.reschedule(now + UNSERVED)
            elif not lost:
                waiting.patience.reschedule(None)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    queue: str
    again: Callable[[], str]
    patience: asyncio.Timeout


def queues_of(info: ExecutorInfo) -> frozenset[str]:
    """All that this executor pulls from."""
    return _queues(info.platforms, info.emulated, info.classes)


@lru_cache(256)
def _queues(platforms: tuple[Platform, ...], emulated: tuple[Platform, ...], classes: tuple[str, ...]) -> frozenset[str]:
    """Asked for each op and executor, several times."""
    return subjects.exec_queues(platforms, emulated, classes)


class ExecutorWork:
    """Work and Files over calls. A call that is lost is tried again, elsewhere if its executor is gone."""

    def __init__(
        self,
        calls: Calls,
        fleet: ExecutorFleet,
        log: Log,
        overhead: Histogram | None = None,
        *,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        self._calls = calls
        self._fleet = fleet
        self._log = log
        self._overhead = overhead
        self.admission = Admission(fleet, shares or {})
        calls.also_waiting(self.admission.waiting)

    async def resolve(self, request: ResolveSource, heard: Heard) -> SourceResolved:
        """Any executor."""
        answer = await self._retry(lambda _: self._calls.call(subjects.EXECUTOR, request, on_progress=_relay(heard)))
        assert isinstance(answer, SourceResolved)
        return answer

    async def run(
        self,
        vertex: Digest,
        name: str,
        op: LlbOp,
        inputs: Sequence[Ref | None],
        resolved: SourceResolved | None,
        scope: Scope,
        heard: Heard,
    ) -> tuple[Ref | None, ...]:
        """At home of the largest input if a slot gets free there within its grace; else whoever pulls it from the platform's queue.

        Files that are made on nothing have no home: those of one build are made together; the queue would cost more than they do.
        """

        async def attempt(number: int) -> Any:
            request = RunOp(
                vertex=ContentDigest(vertex),
                attempt=number,
                op=op.data,
                platform=op.platform,
                inputs=tuple(inputs),
                scope=scope,
                name=name,
                resources=_resources(op.resources),
                prune_mounts=op.prune_mounts,
                resolved=resolved,
            )

            def queue() -> str:
                return self._fleet.queue_for(op.platform, runs_code=not op.is_source, klass=op.klass)

            notes = WaitingNotes(vertex, op.platform, heard)
            async with self.admission.turn(queue(), scope.identity or scope.lease, op.priority, notes.say):
                notes.end()
                home = self._home(inputs, resolved) or (self._fleet.settled(scope.lease, queue()) if op.is_file else "")
                if home and self._fleet.takes(home, queue()):
                    try:
                        return await self._at(home, request, _relay(heard))
                    except Exhausted:  # no slot there
                        pass
                return await self._queued(queue, request, heard)

        begun = asyncio.get_running_loop().time()
        answer = await self._retry(attempt)
        assert isinstance(answer, OpDone)
        if self._overhead is not None:
            own = (answer.completed - answer.started) / 1e9
            self._overhead.observe(max(asyncio.get_running_loop().time() - begun - own, 0.0))
        return answer.outputs

    async def _queued(self, queue: Callable[[], str], request: RunOp, heard: Heard) -> Any:
        """From the queue, as long as it may take; on to another pool when the last executor of this one is gone."""
        while True:
            chosen = queue()
            patience = asyncio.timeout(None)
            try:
                async with patience, self._fleet.waiting_in(chosen, queue, patience):
                    return await self._calls.run(chosen, request, on_progress=_relay(heard))
            except TimeoutError:
                if not patience.expired():
                    raise

    def _home(self, inputs: Sequence[Ref | None], resolved: SourceResolved | None) -> str:
        """Where most of the input is. A home that is gone doesn't count: the layers may be had elsewhere, or the ref is lost."""
        sizes: dict[str, int] = {}
        for ref in inputs:
            if ref is not None and ref.home and self._fleet.is_alive(ref.home):
                sizes[ref.home] = sizes.get(ref.home, 0) + max(ref.size, 1)
        if resolved is not None and resolved.executor and self._fleet.is_alive(resolved.executor):
            sizes[resolved.executor] = sizes.get(resolved.executor, 0) + 1
        return max(sizes, key=lambda home: sizes[home], default="")

    async def pack(self, ref: Ref, compression: Compression, scope: Scope, heard: Heard, *, only_known: bool) -> tuple[Layer, ...]:
        """At home of the ref, or anywhere."""
        request = Pack(ref=ref, compression=compression, scope=scope, fetch=not only_known, only_known=only_known)
        answer = await self._at_home(ref, request, heard)
        assert isinstance(answer, Packed)
        return answer.layers

    async def hash_content(self, ref: Ref | None, selectors: Sequence[ContentSelector], scope: Scope, heard: Heard) -> Digest:
        """At home of the ref, or anywhere."""
        wanted = tuple(
            HashSelector(
                path=s.path,
                wildcard=s.wildcard,
                follow_links=s.follow_links,
                include_patterns=s.include,
                exclude_patterns=s.exclude,
                required_paths=s.required,
            )
            for s in selectors
        )
        answer = await self._at_home(ref, ContentHash(ref=ref, selectors=wanted, scope=scope), heard)
        assert isinstance(answer, ContentHashed)
        return answer.digest

    async def read(self, ref: Ref, path: str, scope: Scope, *, offset: int = 0, length: int = 0) -> FileData:
        """The bytes of a file."""
        answer = await self._at_home(ref, ReadRefFile(ref=ref, path=path, scope=scope, offset=offset, length=length))
        assert isinstance(answer, FileData)
        return answer

    async def read_dir(self, ref: Ref, path: str, scope: Scope, *, include: str = "") -> FileStats:
        """Direct children, by name."""
        answer = await self._at_home(ref, ReadRefDir(ref=ref, path=path, scope=scope, include_pattern=include))
        assert isinstance(answer, FileStats)
        return answer

    async def stat(self, ref: Ref, path: str, scope: Scope) -> FileStats:
        """One entry."""
        answer = await self._at_home(ref, StatRefFile(ref=ref, path=path, scope=scope))
        assert isinstance(answer, FileStats)
        return answer

    async def _at_home(self, ref: Ref | None, request: Any, heard: Heard | None = None) -> Any:
        async def attempt(_: int) -> Any:
            progress = _relay(heard) if heard is not None else None
            if ref is not None and ref.home and self._fleet.is_alive(ref.home):
                return await self._at(ref.home, request, progress)
            # of a dead home whoever answers looks for what it had published
            return await self._calls.call(subjects.EXECUTOR, request, on_progress=progress)

        return await self._retry(attempt)

    async def _at(self, home: str, request: Any, progress: Callable[[Any], None] | None) -> Any:
        """Ask one executor; when it falls silent it is not asked again before it is heard of."""
        try:
            return await self._calls.call(subjects.executor_call(home), request, on_progress=progress, within=HOME_WITHIN, absent=ABSENT)
        except CallLost:
            self._fleet.lost(home)
            raise

    async def _retry(self, attempt: Callable[[int], Awaitable[Any]]) -> Any:
        for number in range(1, ATTEMPTS):
            try:
                return await attempt(number)
            except CallLost as error:
                self._log.warning("an executor fell silent; trying again", attempt=number, error=str(error))
        return await attempt(ATTEMPTS)


def _relay(heard: Heard) -> Callable[[Any], None]:
    def take(message: Any) -> None:
        if isinstance(message, TaskProgress):
            heard(message.statuses, message.logs)

    return take


def _resources(limits: Resources | None) -> bytes:
    if limits is None:
        return b""
    message = pb.LinuxResources(
        memory=limits.memory,
        memorySwap=limits.memory_swap,
        cpuShares=limits.cpu_shares,
        cpuPeriod=limits.cpu_period,
        cpuQuota=limits.cpu_quota,
        cpusetCpus=limits.cpuset_cpus,
        cpusetMems=limits.cpuset_mems,
    )
    return bytes(message.SerializeToString(deterministic=True))
