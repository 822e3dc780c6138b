"""Makes the import of dataclasses cheap: their generated methods are compiled when they are first called.

The standard library compiles six functions per frozen dataclass, about 0.3–0.5 ms; the all-in-one defines over 400 dataclasses and
calls few of those functions before its first answer. `lazy_dataclasses` puts a stub in place of each, which compiles the
real function at the first call and takes its place in the class. It does nothing on Python versions that build
dataclasses in another way (3.13 compiles all of a class at once, which is cheaper already).
"""

import dataclasses
import gc
import sys
from collections.abc import Callable
from typing import Any

LOADING = (400_000, 50, 50)
RUNNING = (10_000, 20, 20)
SWITCH = (0.0005, 0.005)
"""Seconds a thread may keep the interpreter while others want it: while loading, and afterwards (Python's own figure)."""


def spare_collections() -> None:
    """While code is loaded hardly anything becomes garbage: looking for it costs 7 % of the start.

    The loop's thread has little to do then, but clients wait for it: it must not queue for 5 ms behind the thread that loads.
    """
    gc.set_threshold(*LOADING)
    sys.setswitchinterval(SWITCH[0])


def loaded() -> None:
    """All code is there: it is never looked at again, and what builds leave behind is collected."""
    gc.freeze()
    gc.set_threshold(*RUNNING)
    sys.setswitchinterval(SWITCH[1])


def lazy_dataclasses() -> None:
    """Call before importing what defines dataclasses; a second call changes nothing."""
    original = getattr(dataclasses, "_create_fn", None)
    if original is None or getattr(original, "lazy", False):
        return

    def create(name: str, args: Any, body: Any, **scope: Any) -> Callable[..., Any]:
        real: Callable[..., Any] | None = None

        def stub(self: Any, *values: Any, **named: Any) -> Any:
            nonlocal real
            if real is None:
                real = original(name, args, body, **scope)
                _replace(type(self), name, stub, real)
            return real(self, *values, **named)

        stub.__name__ = name
        return stub

    create.lazy = True  # type: ignore[attr-defined]
    dataclasses._create_fn = create  # type: ignore[attr-defined]


def _replace(cls: type, name: str, stub: object, real: Callable[..., Any]) -> None:
    for owner in cls.__mro__:
        if owner.__dict__.get(name) is stub:
            real.__qualname__ = f"{owner.__qualname__}.{name}"
            setattr(owner, name, real)
            return
