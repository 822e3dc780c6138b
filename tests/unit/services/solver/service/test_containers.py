"""The containers of one build: ids, limits, trees that are lost, and the end of the build."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from services.solver.service.containers import MOST, Containers
from shared.errors import AlreadyExists, BuildFailed, Exhausted, NotFound, RefLost, Unavailable
from shared.model import Platform, Ref
from shared.telemetry import Log
from shared.wire.messages import BridgeExec, BridgeNewContainer, FileData, OpenContainer, ReadContainerFile, RunProcess, Scope

PLATFORM = Platform(os="linux", architecture="amd64")


@dataclass
class FakeHosts:
    opened: list[OpenContainer] = field(default_factory=list)
    ran: list[tuple[RunProcess, str]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    async def open(self, request: OpenContainer, executor: str) -> str:
        if self.lost:
            raise RefLost(self.lost.pop())
        self.opened.append(request)
        return executor or "somewhere"

    async def run(self, request: RunProcess, executor: str) -> None:
        self.ran.append((request, executor))

    async def close(self, id: str, executor: str) -> None:
        self.closed.append(id)
        raise Unavailable("gone")

    async def files(self, request: Any, executor: str) -> FileData:
        return FileData(data=request.container.encode())

    async def run_image(self, request: Any) -> Any:
        raise AssertionError


@dataclass
class FakeHandle:
    """A result that is made anew each time it is lost."""

    made: int = 1

    async def ref(self) -> Ref:
        return Ref(id=f"tree-{self.made}", home="e")

    async def lost(self, ref_id: str) -> None:
        assert ref_id == f"tree-{self.made}"
        self.made += 1


def containers(hosts: FakeHosts, handle: FakeHandle | None = None) -> Containers:
    async def find(id: str) -> Any:
        if handle is None or id != "known":
            raise NotFound(f"no such ref: {id}")
        return handle

    return Containers(hosts, find, Scope(lease="b"), lambda: PLATFORM)


def wanted(id: str, *refs: str, executor: str = "") -> BridgeNewContainer:
    return BridgeNewContainer(id=id, op=b"op", refs=refs, executor=executor)


async def test_a_process_runs_where_the_container_is() -> None:
    hosts = FakeHosts()
    mine = containers(hosts, FakeHandle())
    await mine.open(wanted("c", "known", executor="there"))

    await mine.run(BridgeExec(container="c", process="p", op=b"x", landing="l", fds=(1,), tty=True))

    ((order, executor),) = hosts.ran
    assert (executor, order.container, order.landing, order.tty) == ("there", hosts.opened[0].id, "l", True)
    assert order.container != "c", "on the executor it has an id that nobody can guess"
    assert (await mine.files("c", 0, lambda id: ReadContainerFile(container=id, mount=0, path="/"))) == FileData(
        data=order.container.encode()
    )


async def test_a_lost_tree_is_made_again() -> None:
    hosts, handle = FakeHosts(lost=["tree-1"]), FakeHandle()

    await containers(hosts, handle).open(wanted("c", "known"))

    assert [ref.id for ref in hosts.opened[0].inputs if ref is not None] == ["tree-2"]


async def test_ids_that_are_not_there() -> None:
    mine = containers(FakeHosts(), FakeHandle())
    with pytest.raises(NotFound, match="failed to find ref other for a mount"):
        await mine.open(wanted("c", "other"))
    await mine.open(wanted("c"))
    with pytest.raises(AlreadyExists, match="Container c already exists"):
        await mine.open(wanted("c"))
    with pytest.raises(NotFound, match='container "d" previously released or not created'):
        await mine.run(BridgeExec(container="d", process="p", op=b"", landing="l"))
    with pytest.raises(BuildFailed, match="container details for d not found"):
        await mine.release("d")


async def test_there_are_not_too_many() -> None:
    mine = containers(FakeHosts())
    for number in range(MOST):
        await mine.open(wanted(str(number)))
    with pytest.raises(Exhausted):
        await mine.open(wanted("one more"))


async def test_the_end_of_the_build_releases_all() -> None:
    """Also when an executor is gone."""
    hosts = FakeHosts()
    mine = containers(hosts)
    for name in ("a", "b"):
        await mine.open(wanted(name))

    await mine.release_all(Log())

    assert sorted(hosts.closed) == sorted(request.id for request in hosts.opened)
