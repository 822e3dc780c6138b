"""The lease table keeps its counts, whatever happens."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.executor.core.leases import LeaseTable

leases, ids = st.sampled_from("abc"), st.sampled_from("xyz")


class Machine(RuleBasedStateMachine):
    """Against a plain dict of sets."""

    def __init__(self) -> None:
        super().__init__()
        self.table = LeaseTable(seconds=10)
        self.model: dict[str, set[str]] = {}
        self.expiry: dict[str, float] = {}
        self.now = 0.0

    @rule(lease=leases, some=st.sets(ids))
    def hold(self, lease: str, some: set[str]) -> None:
        self.table.hold(lease, some, self.now)
        self.model.setdefault(lease, set()).update(some)
        self.expiry[lease] = self.now + 10

    @rule(lease=leases)
    def release(self, lease: str) -> None:
        gone = self.model.pop(lease, set())
        self.expiry.pop(lease, None)
        assert self.table.release(lease) == {id for id in gone if not any(id in held for held in self.model.values())}

    @rule(lease=leases, id=ids)
    def drop(self, lease: str, id: str) -> None:
        self.table.drop(lease, id)
        self.model.get(lease, set()).discard(id)

    @rule(old=ids, new=ids)
    def replace(self, old: str, new: str) -> None:
        self.table.replace(old, new)
        for held in self.model.values():
            if old in held:
                held.discard(old)
                held.add(new)

    @rule(lease=leases, step=st.floats(0, 6))
    def time(self, lease: str, step: float) -> None:
        self.now += step
        self.table.renew([lease], self.now)
        if lease in self.expiry:
            self.expiry[lease] = self.now + 10
        assert set(self.table.expired(self.now)) == {name for name, at in self.expiry.items() if at <= self.now}

    @invariant()
    def counts(self) -> None:
        self.table.check()
        assert set(self.table.held()) == set().union(*self.model.values())


TestLeases = Machine.TestCase
