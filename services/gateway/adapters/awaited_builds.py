"""Bridge calls and followers that wait for a build: clients send them at the same time as its Solve."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from shared.errors import NotFound, Unavailable

REGISTERED_WITHIN = 10.0
"""Seconds that a bridge call waits for its Solve."""
REFUSED_AFTER = 0.2
"""Seconds by which they lag behind the answer of Solve, the better error, since clients show the first that arrives."""
REFUSED_KEPT = 15.0
"""Seconds for which bridge calls of a refused build are told at once instead of waiting."""
AGAIN = 1.0
"""Seconds until a bus that is away is asked again."""


class AwaitedBuilds:
    """`is_known`: the build runs here or did so just now. `appears` returns once a gateway has announced it, and may raise Unavailable."""

    def __init__(self, is_known: Callable[[str], bool], appears: Callable[[str], Awaitable[None]]) -> None:
        self._is_known, self._appears = is_known, appears
        self._refused: set[str] = set()
        self._beginning: set[str] = set()
        self._scopes: dict[str, set[asyncio.Timeout]] = {}

    @contextmanager
    def beginning(self, ref: str) -> Iterator[None]:
        """While its Solve is being announced, which takes as long as the bus is away."""
        self._beginning.add(ref)
        try:
            yield
        finally:
            self._beginning.discard(ref)

    def is_refused(self, ref: str) -> bool:
        """Whether its Solve was refused a short while ago."""
        return ref in self._refused

    def refuse(self, ref: str) -> None:
        """A Solve with this ref was refused: whoever waits for it need not wait longer."""
        self._refused.add(ref)
        asyncio.get_running_loop().call_later(REFUSED_KEPT, self._refused.discard, ref)
        self.end(ref, after=REFUSED_AFTER)

    def end(self, ref: str, *, after: float = 0.0) -> None:
        """Whoever waits for it looks again, in `after` seconds."""
        for scope in self._scopes.get(ref, ()):
            scope.reschedule(asyncio.get_running_loop().time() + after)

    async def wait(self, ref: str, seconds: float) -> None:
        """Until the build is known. Raises NotFound `no such job <ref>` after so many seconds, not while its Solve is being announced."""
        while not self._is_known(ref):
            try:
                async with self._scope(ref, seconds):
                    return await self._appears(ref)
            except TimeoutError:
                if not self._is_known(ref) and ref not in self._beginning:
                    raise NotFound(f"no such job {ref}") from None
            except Unavailable:
                if ref not in self._beginning:
                    raise
                await asyncio.sleep(AGAIN)

    @asynccontextmanager
    async def _scope(self, ref: str, seconds: float) -> AsyncIterator[None]:
        scopes = self._scopes.setdefault(ref, set())
        scope = asyncio.timeout(REFUSED_AFTER if ref in self._refused else seconds)
        scopes.add(scope)
        try:
            async with scope:
                yield
        finally:
            scopes.discard(scope)
            if not scopes:
                self._scopes.pop(ref, None)
