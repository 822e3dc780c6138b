"""Requests between edges, and from an edge to a call; edges never call one another.

The asking side holds the pipe among its *outgoing*, the answering side among its *incoming*. Answers become visible to
the asker only when the scheduler lets it `receive`. BuildKit: solver/internal/pipe.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

from services.solver.core.cache_key import CacheKey
from services.solver.core.result import EdgeResult

if TYPE_CHECKING:
    from services.solver.core.edge import Edge
    from services.solver.core.shared_op import SharedOp


class EdgeState(IntEnum):
    """How much is known of an edge; it only grows (but for a merge, which may restart it)."""

    INITIAL = 0
    CACHE_FAST = 1  # keys by definition are known
    CACHE_SLOW = 2  # keys by content are known too
    COMPLETE = 3  # there is a result


@dataclass(frozen=True, slots=True, eq=False)
class EdgeView:
    """What an edge tells those who asked."""

    state: EdgeState = EdgeState.INITIAL
    result: EdgeResult | None = None
    keys: tuple[CacheKey, ...] = ()

    def same_as(self, other: "EdgeView") -> bool:
        """True when nothing that matters differs (keys only grow, so their number tells)."""
        return self.state == other.state and self.result is other.result and len(self.keys) == len(other.keys)


class CallKind(Enum):
    """What an edge may ask of the world, through its operation."""

    CACHE_MAP = "cache_map"
    CONTENT = "content"
    LOAD = "load"
    RUN = "run"
    TURN = "turn"  # nothing but another turn


@dataclass(frozen=True, slots=True, eq=False)
class InputRequest:
    """«Get to `desired`; I know `known` already.»"""

    desired: EdgeState
    known: EdgeView = EdgeView()


class CanceledPipe(Exception):
    """The error of a request that its asker gave up."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """State of a request. `value` is an EdgeView for edges and what the call gave for calls."""

    value: Any = None
    error: BaseException | None = None
    completed: bool = False
    canceled: bool = False


_NOTHING = Answer()


@dataclass(slots=True, eq=False, kw_only=True)
class Pipe:
    """One request. `asker` None = a build waits for it."""

    asker: "Edge | None"
    target: "Edge | None" = None
    request: InputRequest | None = None
    kind: CallKind | None = None
    op: "SharedOp | None" = None  # whom a call waits for
    canceled: bool = False
    sent: Answer = _NOTHING
    seen: Answer = _NOTHING

    @property
    def answered(self) -> bool:
        """True once the answering side is through, whether or not the asker has seen it."""
        return self.sent.completed

    def receive(self) -> bool:
        """Take the newest answer; True when there was a new one."""
        fresh = self.sent is not self.seen
        self.seen = self.sent
        return fresh

    def update(self, view: EdgeView) -> bool:
        """Tell an intermediate view; False when it is no news."""
        last = self.sent.value
        if isinstance(last, EdgeView) and last.same_as(view):
            return False
        self.sent = Answer(value=view)
        return True

    def finish(self, value: Any, error: BaseException | None = None) -> None:
        """The last answer. A second one is a broken invariant."""
        assert not self.sent.completed, "request answered twice"
        canceled = self.canceled and isinstance(error, CanceledPipe)
        self.sent = Answer(value=value, error=error, completed=True, canceled=canceled)
