"""kill -9, SIGTERM and SIGSTOP of everything, at moments that a seed chooses, under twenty builds of different shapes."""

import os
import random
import time
from collections.abc import Callable
from functools import partial
from itertools import groupby

import pytest

from tests.chaos.conftest import IN_MAKE_CHAOS, Fleet, Outcome
from tests.kit import load

pytestmark = [pytest.mark.root, pytest.mark.slow]

UnderLoad = Callable[..., Outcome]

SEEDS = [int(seed) for seed in os.environ.get("BUILDMESH_CHAOS_SEEDS", "1").split(",")]
MANY = 100
"""More builds than any of these tests has time for."""


def deaths(fleet: Fleet) -> list[Callable[[], object]]:
    """Each service, the bus and the blob store, and the bus with all it knew. Clients of a dead gateway build again by the other one."""
    names = ("executor-0", "executor-2", "solver-0", "solver-1", "frontend-0", "exporter-0", "cachestore-0", "gateway-0", "gateway-1")
    servers = (partial(fleet.restart_bus, away=8), fleet.restart_blobs, partial(fleet.restart_bus, wiped=True))
    return [*(partial(fleet.kill, name) for name in names), *servers]


@pytest.mark.parametrize("seed", SEEDS)
def test_whoever_is_killed_no_build_is_lost(fleet: Fleet, under_load: UnderLoad, busybox: str, seed: int) -> None:
    chance = random.Random(seed)
    fleet.happened.clear()

    def chaos() -> None:
        victims = deaths(fleet)
        chance.shuffle(victims)
        time.sleep(3)
        for kill in victims:
            kill()
            time.sleep(chance.uniform(0.5, 2.5))

    outcome = under_load(load.orders(busybox, MANY, seed), chaos)

    print(outcome.report(f"kill -9, seed {seed}", fleet.happened))
    outcome.check()


def test_gateways_take_no_step_with_them(fleet: Fleet, under_load: UnderLoad, busybox: str) -> None:
    """Killed and told to stop in turn. Clients that lose theirs are told so, build again by the other one, and join what runs."""
    fleet.happened.clear()
    codes: list[int] = []

    def chaos() -> None:
        time.sleep(4)
        fleet.kill("gateway-0")
        fleet.stack.ready("gateway-0", 40)
        time.sleep(3)
        codes.append(fleet.drain("gateway-1"))
        fleet.kill("gateway-1")

    outcome = under_load(load.orders(busybox, MANY, 9, "gates"), chaos, 12)

    print(outcome.report("gateways", fleet.happened))
    outcome.check()
    assert sum(len(seen.cut_off) for seen in outcome.seen) > 0
    assert outcome.repeated == {}
    assert codes == [0]


@IN_MAKE_CHAOS
def test_a_rolling_restart_of_all_services_loses_nothing(fleet: Fleet, under_load: UnderLoad, busybox: str) -> None:
    """SIGTERM to the first process of every service at once, then to the second ones; each drains within its grace and ends with 0."""
    codes: dict[str, int] = {}
    fleet.happened.clear()
    names = sorted(fleet.stack.parts, key=lambda name: name.rpartition("-")[2])

    def chaos() -> None:
        time.sleep(2)
        for _, generation in groupby(names, lambda name: name.rpartition("-")[2]):
            codes.update(fleet.drain_all(list(generation)))

    outcome = under_load(load.orders(busybox, MANY, 7, "drain"), chaos)

    print(outcome.report("SIGTERM", fleet.happened))
    outcome.check()
    assert codes == dict.fromkeys(names, 0)


@IN_MAKE_CHAOS
def test_whoever_stands_still_past_his_time_does_no_harm(fleet: Fleet, under_load: UnderLoad, busybox: str) -> None:
    """An executor and a solver are stopped for longer than anybody waits for them, and go on with what is long done elsewhere."""
    fleet.happened.clear()

    def chaos() -> None:
        time.sleep(3)
        fleet.pause(["executor-1", "solver-0"], 12)
        time.sleep(1)

    outcome = under_load(load.orders(busybox, MANY, 8, "pause"), chaos)

    print(outcome.report("SIGSTOP", fleet.happened))
    outcome.check()
