"""On which executor a driver's container goes."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from services.solver.adapters.containers import PLACES, ExecutorContainers
from shared.errors import CallLost, Exhausted, Unavailable
from shared.model import Platform, Ref
from shared.wire.messages import BridgeResult, ContainerOpened, OpenContainer, RunImage, RunProcess, Scope

LINUX = Platform(os="linux", architecture="amd64")


@dataclass
class FakeCalls:
    """Executors by subject; those in `full` have no room, those in `dead` are silent."""

    full: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    async def call(self, subject: str, request: Any, **how: Any) -> Any:
        name = subject.split(".")[1]
        self.asked.append(name)
        if name in self.dead:
            raise CallLost(f"nobody listens on {subject}")
        if name in self.full:
            raise Exhausted(f"{name} has no room")
        return ContainerOpened(executor=name) if isinstance(request, OpenContainer) else BridgeResult()


@dataclass
class FakeFleet:
    """Idlest first."""

    alive: list[str]

    def is_alive(self, executor: str) -> bool:
        return executor in self.alive

    def lost(self, executor: str) -> None:
        self.alive.remove(executor)

    def idlest(self, *, but: str = "") -> str:
        return next((name for name in self.alive if name != but), but)


def order(*homes: str) -> OpenContainer:
    refs = tuple(Ref(id=f"r{i}", home=home) for i, home in enumerate(homes))
    return OpenContainer(id="c", op=b"", inputs=refs, platform=LINUX, scope=Scope(lease="b"))


async def test_it_goes_where_its_trees_are_else_where_there_is_room() -> None:
    calls = FakeCalls()
    hosts = ExecutorContainers(calls, FakeFleet(["idle", "busy", "home"]))  # type: ignore[arg-type]

    assert [await hosts.open(order("gone", "home"), ""), await hosts.open(order(), ""), await hosts.open(order("home"), "busy")] == [
        "home",
        "idle",
        "busy",
    ]
    calls.full = {"home"}
    assert await hosts.open(order("home"), "") == "idle"
    image = RunImage(root=Ref(id="r", home="home"), op=b"", bridge="b", platform=LINUX, scope=Scope(lease="b"))
    assert await hosts.run_image(image) == BridgeResult()


async def test_without_room_anywhere_it_says_so() -> None:
    """Each is asked once; one that was chosen for its streams is not exchanged."""
    calls = FakeCalls(full={"a", "b"})
    hosts = ExecutorContainers(calls, FakeFleet(["a", "b"]))  # type: ignore[arg-type]

    with pytest.raises(Exhausted, match="a has no room"):
        await hosts.open(order("b"), "")
    with pytest.raises(Exhausted, match="b has no room"):
        await hosts.open(order(), "b")
    alone = ExecutorContainers(calls, FakeFleet(["a"]))  # type: ignore[arg-type]
    with pytest.raises(Exhausted, match="a has no room"):
        await alone.open(order("a"), "")
    assert calls.asked == ["b", "a", "b", "a"]


async def test_another_is_asked_when_the_home_has_just_died() -> None:
    """Not without end, and not when it can be there only."""
    fleet = FakeFleet(["a", "b"])
    assert await ExecutorContainers(FakeCalls(dead={"b"}), fleet).open(order("b"), "") == "a"  # type: ignore[arg-type]
    assert fleet.alive == ["a"]

    many = [f"e{n}" for n in range(9)]
    calls = FakeCalls(dead=set(many))
    with pytest.raises(Unavailable, match="the executor e2 that runs the container is gone"):
        await ExecutorContainers(calls, FakeFleet(many)).open(order(), "")  # type: ignore[arg-type]
    assert len(calls.asked) == PLACES
    with pytest.raises(Unavailable, match="the executor z that runs the container is gone"):
        await ExecutorContainers(FakeCalls(dead={"z"}), FakeFleet(["a", "z"])).open(order("a"), "z")  # type: ignore[arg-type]


async def test_what_a_dead_executor_ran_is_told_apart() -> None:
    """A frontend may be run again, a process not."""
    hosts = ExecutorContainers(FakeCalls(dead={"a", "b"}), FakeFleet(["a", "b"]))  # type: ignore[arg-type]

    with pytest.raises(CallLost, match="the executor a that runs the container is gone"):
        await hosts.run_image(RunImage(root=Ref(id="r", home="a"), op=b"", bridge="b", platform=LINUX, scope=Scope(lease="b")))
    with pytest.raises(Unavailable, match="the executor b that runs the container is gone"):
        await hosts.run(RunProcess(container="c", process="p", op=b"", landing="l", scope=Scope(lease="b")), "b")
