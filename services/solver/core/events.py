"""What happened: the closed union that the scheduler's `handle` takes."""

from dataclasses import dataclass
from typing import Any

from services.solver.core.vertex import Digest, Output


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenJob:
    """A build begins. A job that is open already is refused by the caller, not here."""

    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseJob:
    """A build ended: whatever no other job holds is let go."""

    job: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """Somebody wants this output, on behalf of a job or (sub-solve of a running op) of the vertex `parent`.

    Answered by one Finished with the same `request`.
    """

    request: str
    output: Output
    job: str = ""
    parent: Digest = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelBuild:
    """Nobody waits for this request any more; it still gets its Finished."""

    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A call ended well. The type of `value` follows the effect that opened the call (see effects.py)."""

    call: int
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A call ended in an error; `canceled` = because CancelCall was asked for, so the error must not be remembered."""

    call: int
    error: BaseException
    canceled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsLost:
    """A Run or HashContent could not have these inputs any more; make them again, then call again.

    The caller has dropped their records from the cache index before it says so.
    """

    call: int
    inputs: tuple[int, ...]
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultLost:
    """The finished result `value` of this output can't be had any more; the next Build makes it again."""

    output: tuple[Digest, int]
    value: Any


Event = OpenJob | CloseJob | Build | CancelBuild | Answered | Failed | InputsLost | ResultLost
