"""On which executor a driver's container goes."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from services.solver.adapters.containers import ExecutorContainers
from shared.errors import Exhausted
from shared.model import Platform, Ref
from shared.wire.messages import BridgeResult, ContainerOpened, OpenContainer, RunImage, Scope

LINUX = Platform(os="linux", architecture="amd64")


@dataclass
class FakeCalls:
    """Executors by subject; those in `full` have no room."""

    full: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    async def call(self, subject: str, request: Any, **how: Any) -> Any:
        name = subject.split(".")[1]
        self.asked.append(name)
        if name in self.full:
            raise Exhausted(f"{name} has no room")
        return ContainerOpened(executor=name) if isinstance(request, OpenContainer) else BridgeResult()


@dataclass
class FakeFleet:
    """Idlest first."""

    alive: list[str]

    def is_alive(self, executor: str) -> bool:
        return executor in self.alive

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
