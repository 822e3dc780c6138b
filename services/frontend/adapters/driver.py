"""Runs the core's generators: answers each request from the build, steps them in a thread pool so that the loop stays free."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from services.frontend.core.failure import DockerfileError
from services.frontend.core.requests import Asking, Forward, Inputs, Once, ReadFile, Request, ResolveSource, RunImage, Solve, Together
from services.frontend.ports import Build
from shared.errors import BuildmeshError

_MAX_TOGETHER = 32
"""Requests of one `Together` in flight at once."""


@dataclass(frozen=True, slots=True)
class _Done:
    value: Any


class Driver:
    """Drives computations of one run. `after_step` is awaited between two steps of the outermost one."""

    def __init__(self, build: Build, pool: Executor, after_step: Callable[[], Awaitable[None]]) -> None:
        self._build = build
        self._pool = pool
        self._after_step = after_step
        self._once: dict[Hashable, asyncio.Future[Any]] = {}
        self._limit = asyncio.Semaphore(_MAX_TOGETHER)

    async def run(self, asking: Asking[Any]) -> Any:
        """The value of a computation. Raises DockerfileError."""
        answer: Any = None
        error: DockerfileError | None = None
        try:
            while True:
                step = await self._step(asking, answer, error)
                await self._after_step()
                if isinstance(step, _Done):
                    return step.value
                answer = error = None
                try:
                    answer = await self._answer(step)
                except DockerfileError as e:
                    error = e
        finally:
            with suppress(ValueError):  # cancelled while a thread is still at it
                asking.close()

    async def _step(self, asking: Asking[Any], answer: Any, error: DockerfileError | None) -> Request | _Done:
        def step() -> Request | _Done:
            try:
                return asking.throw(error) if error is not None else asking.send(answer)
            except StopIteration as end:
                return _Done(end.value)

        return await asyncio.get_running_loop().run_in_executor(self._pool, step)

    async def _answer(self, request: Request) -> Any:
        match request:
            case Together():
                return await self._together(request)
            case Once():
                return await self._shared(request)
            case _:
                async with self._limit:
                    return await self._ask(request)

    async def _ask(self, request: Request) -> Any:
        try:
            match request:
                case Solve():
                    return await self._build.solve(request)
                case ReadFile():
                    return await self._build.read_file(request)
                case ResolveSource():
                    return await self._build.resolve_source(request)
                case Inputs():
                    return dict(self._build.inputs())
                case Forward():
                    return await self._build.forward(request)
                case RunImage():
                    return await self._build.run_image(request)
        except BuildmeshError as error:
            raise DockerfileError(error.message, cause=error) from error
        raise AssertionError(f"no way to answer {request!r}")

    async def _together(self, request: Together) -> list[Any]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.run(ask), name="frontend ask") for ask in request.asks]
        except* DockerfileError as failures:
            raise _first(failures) from None
        return [task.result() for task in tasks]

    async def _shared(self, request: Once) -> Any:
        running = self._once.get(request.key)
        if running is not None:
            request.ask.close()
            return await asyncio.shield(running)
        future = self._once[request.key] = asyncio.get_running_loop().create_future()
        try:
            value = await self.run(request.ask)
        except BaseException as error:
            if isinstance(error, DockerfileError):
                future.set_exception(error)
                future.exception()  # others may or may not want it
            else:
                future.cancel()
            raise
        future.set_result(value)
        return value


def _first(failures: BaseExceptionGroup[DockerfileError]) -> DockerfileError:
    found = failures.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
