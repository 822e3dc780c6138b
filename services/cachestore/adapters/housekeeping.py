"""`du`, `prune` and garbage collection: asks what executors hold, lets the policy choose, has it removed, forgets the keys."""

from collections.abc import Awaitable, Callable, Collection, Sequence

from services.cachestore.core.gc_policy import Limits, Question, Record, plan
from services.cachestore.core.key_graph import KeyGraph
from services.cachestore.core.usage import Described, means, usage_filter
from services.cachestore.ports import Holders, Holding
from shared.bus.calls import Served
from shared.run import Clock
from shared.telemetry import Counter
from shared.wire.messages import DiskUsage, GcRule, Prune, Pruned, PrunedBatch, UsageRecord, UsageReport

BATCH = 32  # snapshots removed by one order
ROUNDS = 64  # plans made anew after an executor refused some

OnPruned = Callable[[tuple[UsageRecord, ...]], Awaitable[None]]


Prunes = Callable[[Limits, Sequence[str]], Awaitable[int]]


async def _nothing_more(limits: Limits, filters: Sequence[str]) -> int:
    return 0


class Housekeeping:
    """Handlers for DiskUsage and Prune, and `collect` for the clockwork. `pruned` removes what is not on executors."""

    def __init__(
        self,
        graph: KeyGraph,
        holders: Holders,
        clock: Clock,
        *,
        changed: Callable[[], None],
        freed: Counter,
        pruned: Prunes = _nothing_more,
    ) -> None:
        self._graph, self._holders, self._clock = graph, holders, clock
        self._changed, self._freed, self._pruned = changed, freed, pruned

    async def usage(self, question: DiskUsage, served: Served) -> UsageReport:
        """DiskUsage → UsageReport over all executors, sorted by id."""
        chosen = usage_filter(question.filters)
        horizon = self._clock.now_ns() - question.age_limit if question.age_limit else 0
        records = []
        for holding in await self._holders.holdings():
            for record in holding.records:
                if horizon and record.last_used_at > horizon:
                    continue
                if means(chosen, _described(record)):
                    records.append(record)
        return UsageReport(records=tuple(sorted(records, key=lambda r: r.id)))

    async def prune(self, order: Prune, served: Served) -> Pruned:
        """Prune → Pruned; each batch of removed records goes out as a PrunedBatch."""
        usage_filter(order.filters)

        async def tell(records: tuple[UsageRecord, ...]) -> None:
            await served.progress(PrunedBatch(records=records))

        limits = Limits(
            all=order.all,
            keep_duration=order.keep_duration,
            reserved_space=order.reserved_space,
            max_used_space=order.max_used_space,
            min_free_space=order.min_free_space,
        )
        freed = 0
        for holding in await self._holders.holdings():
            freed += await self._prune_one(holding, limits, order.filters, tell)
        freed += await self._pruned(limits, order.filters)
        self._freed.add(freed, "prune")
        return Pruned(freed=freed)

    async def collect(self) -> int:
        """Apply every executor's own policy; returns the bytes freed."""

        async def quiet(records: tuple[UsageRecord, ...]) -> None:
            return None

        freed = 0
        for holding in await self._holders.holdings():
            for rule in holding.executor.gc_policy:
                freed += await self._prune_one(holding, _limits(rule), rule.filters, quiet)
        self._freed.add(freed, "gc")
        return freed

    async def reconcile(self) -> int:
        """Forget results whose executor is there and says it doesn't hold them, unless layers can bring them back."""
        known = {id: ref for id, ref in self._graph.refs().items() if ref is not None and not ref.layers}
        lost = []
        for holding in await self._holders.holdings():
            held = {record.id for record in holding.records}
            lost += [id for id, ref in known.items() if ref.home == holding.executor.id and id not in held]
        self._forget(lost)
        return len(lost)

    async def _prune_one(self, holding: Holding, limits: Limits, filters: Sequence[str], tell: OnPruned) -> int:
        chosen = usage_filter(filters)
        left = {record.id: record for record in holding.records}
        meant = {id for id, record in left.items() if means(chosen, _described(record))}
        refused: set[str] = set()
        freed = 0
        for _ in range(ROUNDS):
            question = Question(
                limits=limits,
                free=holding.disk_free + freed,
                now=self._clock.now_ns(),
                matches=meant.__contains__,
                refused=frozenset(refused),
            )
            ids = plan([_record(r) for r in left.values()], question)
            if not ids:
                break
            before = len(refused)
            for at in range(0, len(ids), BATCH):
                batch = ids[at : at + BATCH]
                gone = await self._holders.remove(holding.executor.id, batch)
                refused |= set(batch) - set(gone)
                records = tuple(left.pop(id) for id in batch if id in gone)
                freed += sum(record.size for record in records)
                self._forget([record.id for record in records])
                if records:
                    await tell(records)
            if len(refused) == before:
                break
        return freed

    def _forget(self, ids: Collection[str]) -> None:
        for id in ids:
            self._graph.release(id)
        if ids:
            self._changed()


def _limits(rule: GcRule) -> Limits:
    return Limits(
        all=rule.all,
        keep_duration=rule.keep_duration,
        reserved_space=rule.reserved_space,
        max_used_space=rule.max_used_space,
        min_free_space=rule.min_free_space,
    )


def _record(record: UsageRecord) -> Record:
    return Record(
        id=record.id,
        size=max(record.size, 0),
        in_use=record.in_use,
        parents=record.parents,
        last_used_at=record.last_used_at,
        usage_count=record.usage_count,
        record_type=record.record_type,
        shared=record.shared,
    )


def _described(record: UsageRecord) -> Described:
    return Described(record=_record(record), description=record.description, mutable=record.mutable)
