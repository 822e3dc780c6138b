"""What a process says of its readiness."""

import asyncio

from shared.run.mesh import Readiness


async def test_whoever_waits_for_parts_is_woken_when_all_of_them_are_up_and_not_before() -> None:
    readiness = Readiness()
    woken: list[str] = []

    async def wait(name: str, *parts: str) -> None:
        await readiness.wait_for(parts)
        woken.append(name)
        if name == "first":
            readiness.up("b")

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        for name, parts in (("both", ("a", "b")), ("first", ("a",)), ("again", ("a", "b"))):
            tasks.create_task(wait(name, *parts))
        await asyncio.sleep(0)
        readiness.up("a")

    assert (woken[0], sorted(woken)) == ("first", ["again", "both", "first"])


async def test_a_part_is_waited_for_until_it_is_up_or_the_process_is_to_stop() -> None:
    for act, outcome in ((lambda r: r.up("blobs"), True), (lambda r: r.drain(), False)):
        readiness = Readiness()
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            reached = tasks.create_task(readiness.reached("blobs"))
            readiness.up("other")
            await asyncio.sleep(0)
            assert not reached.done()
            act(readiness)
        assert reached.result() is outcome
