"""A frontend whose executor dies is run again, unless it had run processes of its own."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from services.solver.service.containers import Containers
from services.solver.service.image_runs import ATTEMPTS, ImageRuns
from services.solver.service.results import Handle
from shared.errors import BuildFailed, CallLost, Unavailable
from shared.model import Platform, Ref
from shared.wire.messages import BridgeExec, BridgeNewContainer, BridgeResult, OpenContainer, RunImage, RunProcess, Scope

PLATFORM = Platform(os="linux", architecture="amd64")


class Hosts:
    """An executor that dies so many times, after the frontend has done what `before` says."""

    def __init__(self, deaths: int, before: Callable[[], Awaitable[None]] | None = None) -> None:
        self.deaths, self.before = deaths, before
        self.ran: list[RunImage] = []

    async def run_image(self, request: RunImage) -> BridgeResult:
        self.ran.append(request)
        if len(self.ran) <= self.deaths:
            if self.before is not None:
                await self.before()
            raise CallLost("the executor e1 that ran the frontend is gone: silence")
        return BridgeResult(metadata={"a": b"b"})

    async def open(self, request: OpenContainer, executor: str) -> str:
        return executor or "e1"

    async def run(self, request: RunProcess, executor: str) -> None:
        return


class Found:
    """A handle, of a tree or of an empty one."""

    def __init__(self, ref: Ref | None = None) -> None:
        self._ref = ref

    async def use(self, work: Callable[[Ref | None], Awaitable[Any]]) -> Any:
        return await work(self._ref)


def order(ref: Ref) -> RunImage:
    return RunImage(root=ref, op=b"", bridge="b", platform=PLATFORM, scope=Scope(lease="b"))


async def nothing(id: str) -> Handle:
    raise AssertionError("no result is asked for")


def world(hosts: Hosts) -> tuple[ImageRuns, Containers]:
    containers = Containers(cast(Any, hosts), nothing, Scope(lease="b"), lambda: PLATFORM)
    return ImageRuns(cast(Any, hosts), containers), containers


def found(ref: Ref | None) -> Handle:
    return cast(Handle, Found(ref))


ROOT = Ref(id="r", home="e1")


async def test_it_runs_again_elsewhere() -> None:
    hosts = Hosts(deaths=1)

    result = await world(hosts)[0].run(found(ROOT), "run", order)

    assert (result.metadata, len(hosts.ran)) == ({"a": b"b"}, 2)


async def test_not_for_ever() -> None:
    hosts = Hosts(deaths=99)

    with pytest.raises(Unavailable, match=rf"^the executor e1 that ran the frontend is gone: silence \({ATTEMPTS} times\)$"):
        await world(hosts)[0].run(found(ROOT), "run", order)

    assert len(hosts.ran) == ATTEMPTS


async def test_a_container_that_it_had_opened_is_forgotten() -> None:
    """The second run may give the same name again."""
    hosts = Hosts(deaths=1)
    runs, containers = world(hosts)
    hosts.before = lambda: containers.open(BridgeNewContainer(id="c", op=b"", caller="run", executor="e1"))

    await runs.run(found(ROOT), "run", order)

    await containers.open(BridgeNewContainer(id="c", op=b"", caller="run"))


async def test_one_that_had_run_processes_is_not_run_again() -> None:
    """What they did is not known; the error says so."""
    hosts = Hosts(deaths=1)
    runs, containers = world(hosts)

    async def process() -> None:
        await containers.open(BridgeNewContainer(id="c", op=b"", caller="run"))
        await containers.run(BridgeExec(container="c", process="p", op=b"", landing="l", caller="run"))

    hosts.before = process
    with pytest.raises(Unavailable, match=r"is gone: silence .it had run processes, so it was not run again"):
        await runs.run(found(ROOT), "run", order)

    assert len(hosts.ran) == 1


async def test_an_empty_tree_holds_no_frontend() -> None:
    with pytest.raises(BuildFailed, match="gateway source didn't return default result"):
        await world(Hosts(0))[0].run(found(None), "run", order)
