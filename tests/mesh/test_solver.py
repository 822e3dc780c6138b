"""Whole builds through the solver service on the memory bus; its neighbours only pretend (tests/kit/solver_mesh.py)."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.bus.calls import Calls
from shared.errors import BuildFailed, BuildmeshError, Canceled, Denied, InvalidInput, NotFound, Unsupported
from shared.llb import Copy, FileStep, NetMode, RunOptions, SourceOp, State, encode_source_op, image_source, local_source
from shared.llb.state_values import Process
from shared.llb.vertices import Constraints, Place, SourceMap
from shared.model import SourcePosition, SourceRange
from shared.wire import subjects
from shared.wire.messages import (
    BridgeEvaluate,
    BridgeExec,
    BridgeInputs,
    BridgeNewContainer,
    BridgePing,
    BridgePong,
    BridgeReadFile,
    BridgeRef,
    BridgeResolveSource,
    BridgeResult,
    BridgeReturn,
    BridgeRunImage,
    BridgeSolve,
    BridgeWarn,
    FileData,
    RunFrontend,
    SolveBuild,
    TypedAttrs,
)
from tests.kit.solver_mesh import Neighbours, definition, solver_among_neighbours

BUSYBOX = "docker-image://docker.io/library/busybox:latest"


@pytest.fixture
async def world() -> AsyncIterator[Neighbours]:
    async with solver_among_neighbours() as neighbours:
        yield neighbours


def image(name: str = "docker.io/library/busybox:latest") -> State:
    return image_source(name, Constraints())


def sh(state: State, command: str, **constraints: object) -> State:
    return state.run(Process(args=(command,), directory="/"), RunOptions(), Constraints(**constraints))  # type: ignore[arg-type]


def copied(base: State, source: State) -> State:
    step = FileStep(action=Copy(src="/src", dest="/dst"), source=source.output)
    return base.file([step], Constraints())


async def test_a_definition_is_solved_without_exporters(world: Neighbours) -> None:
    """The result is evaluated even though nobody takes it."""
    await world.solve(sh(sh(image(), "one"), "two"))
    assert world.executor.ran == ["one", "two"]
    vertices = await world.vertices("build1")
    assert [v.name for v in vertices.values() if v.completed and not v.error] == [BUSYBOX, "one", "two"]


async def test_the_second_build_makes_no_executor_call_but_to_resolve(world: Neighbours) -> None:
    """Every step is CACHED; the source was resolved, as BuildKit shows it."""
    state = sh(sh(image(), "one"), "two")
    await world.solve(state)
    world.executor.counts.clear()
    await world.solve(state)
    assert world.executor.counts == {"resolve": 1}
    vertices = await world.vertices("build2")
    assert {name: v.cached for name, v in vertices.items()} == {
        BUSYBOX: False,
        "one": True,
        "two": True,
    }


async def test_the_clients_identity_goes_with_every_task_and_record(world: Neighbours) -> None:
    """From its certificate by the gateway, to whoever works for it."""
    await world.solve(sh(sh(image(), "one"), "two"), identity="alice")

    assert {scope.identity for scope in world.executor.scopes} == {"alice"}
    assert set(world.cachestore.identities) == {"alice"}
    assert len(world.cachestore.identities) >= 2


async def test_a_fresh_checkout_with_equal_content_is_cached(world: Neighbours) -> None:
    """Local sources differ by session; COPY finds its result by content."""
    for session in ("a", "b"):
        await world.solve(sh(copied(image(), local_source("context", Constraints(), session=session)), "use it"), session=session)
    assert world.executor.ran.count("use it") == 1
    assert sum(name.startswith("copy") for name in world.executor.ran) == 1


async def test_independent_branches_run_side_by_side(world: Neighbours) -> None:
    """None of 30 steps ends before all have started."""
    gate = asyncio.Event()
    names = [f"step {i}" for i in range(30)]
    for name in names:
        world.executor.hold[name] = gate
        world.executor.started[name] = asyncio.Event()
    base = image()
    root = base
    for name in names:
        root = copied(root, sh(base, name))
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(world.solve(root))
        for event in world.executor.started.values():
            await event.wait()
        gate.set()


async def test_two_builds_at_once_run_each_step_once(world: Neighbours) -> None:
    """The late one hears what the first one heard."""
    gate = world.executor.hold["shared"] = asyncio.Event()
    started = world.executor.started["shared"] = asyncio.Event()
    state = sh(image(), "shared")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(world.solve(state))
        await started.wait()
        tasks.create_task(world.solve(state))
        await asyncio.sleep(0.05)
        gate.set()
    assert world.executor.ran == ["shared"]
    for ref in ("build1", "build2"):
        logs = b"".join(log.data for batch in await world.events(ref) for log in batch.logs)
        assert logs == b"shared\n"


async def test_cancelling_one_build_leaves_the_other_its_step(world: Neighbours) -> None:
    """Only when nobody wants it is a step cancelled."""
    gate = world.executor.hold["shared"] = asyncio.Event()
    started = world.executor.started["shared"] = asyncio.Event()
    state = sh(image(), "shared")
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(world.solve(state))
        await started.wait()
        second = tasks.create_task(world.solve(state))
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.sleep(0.1)
        assert world.executor.canceled == []
        gate.set()
        await second
    assert world.executor.ran == ["shared"]


async def test_cancelling_the_only_build_cancels_the_step_and_the_next_build_works(world: Neighbours) -> None:
    """A cancelled step leaves no error behind, and its vertex is shown as cancelled."""
    world.executor.hold["long"] = asyncio.Event()
    started = world.executor.started["long"] = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        build = tasks.create_task(world.solve(sh(image(), "long")))
        await started.wait()
        build.cancel()
    vertices = await world.vertices("build1")
    assert vertices["long"].error == "context canceled"
    assert world.executor.canceled == ["long"]
    del world.executor.hold["long"]
    await world.solve(sh(image(), "long"))


async def test_a_failing_step_names_its_vertex_and_its_lines(world: Neighbours) -> None:
    """Vertex and Source details, code Unknown, the text that tools know."""
    source = SourceMap(filename="Dockerfile", data=b"FROM x\nRUN fail\n", language="Dockerfile")
    place = Place(source=source, ranges=(SourceRange(start=SourcePosition(line=2), end=SourcePosition(line=2)),))
    with pytest.raises(BuildFailed) as caught:
        await world.solve(sh(image(), "fail", places=(place,)))
    assert caught.value.message == 'process "fail" did not complete successfully: exit code: 1'
    assert caught.value.detail("errdefs.Vertex+json") is not None
    detail = caught.value.detail("errdefs.Source+json")
    assert detail is not None and detail.json()["ranges"][0]["start"]["line"] == 2
    vertices = await world.vertices("build1")
    assert vertices["fail"].error == caught.value.message


async def test_a_lost_result_is_made_again(world: Neighbours) -> None:
    """The executor forgot everything: the chain is computed anew, the build succeeds."""
    base = sh(sh(image(), "one"), "two")
    await world.solve(base)
    world.executor.trees.clear()
    await world.solve(sh(base, "three"))
    assert world.executor.ran == ["one", "two", "one", "two", "three"]


async def test_a_result_lost_before_its_export_is_made_again(world: Neighbours) -> None:
    """Exporters may report it too."""
    world.exports_lost = 1
    done = await world.solve(sh(image(), "one"), exporters=(TypedAttrs(type="local"),))
    assert world.executor.ran == ["one", "one"]
    assert done.exporter_response["tree.0"].startswith("one(")


async def test_exporters_run_and_push_comes_after_all(world: Neighbours) -> None:
    """Answers are merged; the vertex of an export is derived from session and index."""
    done = await world.solve(sh(image(), "one"), exporters=(TypedAttrs(type="image"), TypedAttrs(type="local")))
    assert sorted(done.exporter_response) == ["tree.0", "tree.1"]
    assert [f.finalize for f in world.finalized] == [b"push"]
    assert (await world.vertices("build1"))["exporting to image"].completed


async def test_unknown_exporters_and_frontends_are_refused_before_work(world: Neighbours) -> None:
    """And the service goes on."""
    with pytest.raises(InvalidInput, match='exporter "unknown" could not be found'):
        await world.solve(sh(image(), "one"), exporters=(TypedAttrs(type="unknown"),))
    with pytest.raises(BuildFailed, match="invalid frontend: nonsense"):
        await world.solve(frontend="nonsense")
    with pytest.raises(InvalidInput, match="failed to load LLB"):
        await world.solve(b"\xff\xff")
    assert world.executor.ran == []
    await world.solve(sh(image(), "one"))


async def test_entitlements_are_checked_twice(world: Neighbours) -> None:
    """The daemon's list, then the request's."""
    host = sh(image().with_network(NetMode.HOST), "net")
    host = image().run(Process(args=("net",), directory="/", network=NetMode.HOST), RunOptions(), Constraints())
    with pytest.raises(BuildFailed, match=r"network\.host is not allowed$"):
        await world.solve(host)
    with pytest.raises(BuildFailed, match=r"granting entitlement network\.host is not allowed by build daemon configuration"):
        await world.solve(host, entitlements=("network.host",))
    with pytest.raises(BuildFailed, match="unknown entitlement nonsense"):
        await world.solve(host, entitlements=("nonsense",))


async def test_a_granted_entitlement_reaches_the_executor() -> None:
    """It checks again."""
    async with solver_among_neighbours(entitlements=("network.host",)) as world:
        host = image().run(Process(args=("net",), directory="/", network=NetMode.HOST), RunOptions(), Constraints())
        await world.solve(host, entitlements=("network.host",))
        assert world.executor.scopes[0].entitlements == ("network.host",)


async def test_a_frontend_solves_through_the_bridge(world: Neighbours) -> None:
    """It resolves, solves, reads a file, and returns a ref of the build."""

    async def frontend(request: RunFrontend, calls: Calls) -> BridgeResult:
        source = encode_source_op(SourceOp(identifier="docker-image://docker.io/library/busybox:latest"))
        meta = await calls.call(request.bridge, BridgeResolveSource(source=source, caller=request.caller))
        assert meta.image_digest.startswith("sha256:")
        local = definition(local_source("dockerfile", Constraints()))
        context = await calls.call(request.bridge, BridgeSolve(definition=local, caller=request.caller))
        assert isinstance(context, BridgeResult) and context.ref is not None
        text = await calls.call(request.bridge, BridgeReadFile(ref=context.ref.id, path="Dockerfile", caller=request.caller))
        assert isinstance(text, FileData) and text.data == b"local://dockerfile"
        result = await calls.call(request.bridge, BridgeSolve(definition=definition(sh(image(), "built")), caller=request.caller))
        assert isinstance(result, BridgeResult)
        return BridgeResult(ref=result.ref, metadata={"frontend.said": b"hello", "other": b"x"})

    world.frontend = frontend
    done = await world.solve(frontend="dockerfile.v0", exporters=(TypedAttrs(type="local"),))
    assert done.exporter_response["frontend.said"] == "hello"
    assert "other" not in done.exporter_response
    assert done.exporter_response["tree.0"].startswith("built(")


async def test_a_frontend_may_not_return_foreign_refs(world: Neighbours) -> None:
    """Ids are valid within their build only."""

    async def frontend(request: RunFrontend, calls: Calls) -> BridgeResult:
        return BridgeResult(ref=BridgeRef(id="somebody-elses"))

    world.frontend = frontend
    with pytest.raises(NotFound, match="return reference somebody-elses not found"):
        await world.solve(frontend="dockerfile.v0")


async def test_only_a_run_of_a_frontend_asks_in_a_build(world: Neighbours) -> None:
    """Who only knows the build's ref solves nothing in it, reads nothing and does not end it; nor does a run that is over."""
    asked: list[RunFrontend] = []
    held, go_on = asyncio.Event(), asyncio.Event()

    async def frontend(request: RunFrontend, calls: Calls) -> BridgeResult:
        asked.append(request)
        if request.opts:
            held.set()
            await go_on.wait()
        answer = await calls.call(request.bridge, BridgeSolve(definition=definition(sh(image(), request.build)), caller=request.caller))
        assert isinstance(answer, BridgeResult)
        return answer

    world.frontend = frontend
    await world.solve(ref="over", frontend="dockerfile.v0")
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        victim = tasks.create_task(world.solve(ref="victim", frontend="dockerfile.v0", frontend_opts={"hold": "it"}))
        await held.wait()
        evil = definition(sh(image(), "evil"))
        for name in ("", asked[0].caller, asked[1].caller[:-1], "ü" * 100):
            for hostile in (
                BridgePing(caller=name),
                BridgeSolve(definition=evil, evaluate=True, caller=name),
                BridgeSolve(frontend="dockerfile.v0", caller=name),
                BridgeReadFile(ref="r", path="/etc/passwd", caller=name),
                BridgeEvaluate(ref="r", caller=name),
                BridgeInputs(caller=name),
                BridgeWarn(digest="sha256:" + "0" * 64, findings=(), caller=name),
                BridgeNewContainer(id="c", op=b"", caller=name),
                BridgeExec(container="c", process="p", op=b"", landing="l", caller=name),
                BridgeRunImage(ref="r", op=b"", caller=name),
            ):
                with pytest.raises(Denied, match="no frontend runs in build victim under the name that this call gives"):
                    await world.calls.call(asked[1].bridge, hostile)
        with pytest.raises(InvalidInput, match="BridgeReturn"):  # not even with the name
            await world.calls.call(asked[1].bridge, BridgeReturn())
        go_on.set()
        await victim
    assert sorted(world.executor.ran) == ["over", "victim"]
    assert len({request.caller for request in asked}) == 2


async def test_a_client_drives_a_build(world: Neighbours) -> None:
    """Ping, a lazy solve, Evaluate, Return; a second Return is refused."""
    bridge = subjects.build_bridge("mine")
    async with asyncio.TaskGroup() as tasks:
        build = tasks.create_task(world.solve(ref="mine", exporters=(TypedAttrs(type="local"),)))
        assert isinstance(await world.calls.call(bridge, BridgePing()), BridgePong)
        result = await world.calls.call(bridge, BridgeSolve(definition=definition(sh(image(), "lazy"))))
        assert world.executor.ran == []
        await world.calls.call(bridge, BridgeEvaluate(ref=result.ref.id))
        assert world.executor.ran == ["lazy"]
        with pytest.raises(NotFound, match="no such ref"):
            await world.calls.call(bridge, BridgeEvaluate(ref="nonsense"))
        await world.calls.call(bridge, BridgeReturn(result=result))
        done = await build
    assert done.exporter_response["tree.0"].startswith("lazy(")


async def test_a_ref_is_busy_while_its_build_runs(world: Neighbours) -> None:
    """`job ID X exists`, and the first build is not disturbed."""
    async with asyncio.TaskGroup() as tasks:
        build = tasks.create_task(world.solve(ref="mine"))
        await world.calls.call(subjects.build_bridge("mine"), BridgePing())
        with pytest.raises(BuildmeshError, match="job ID mine exists"):
            await world.calls.run(subjects.BUILDS, SolveBuild(ref="mine"))
        await world.calls.call(subjects.build_bridge("mine"), BridgeReturn())
        await build


async def test_an_empty_definition_is_scratch(world: Neighbours) -> None:
    """Nothing runs; the exporter gets no ref."""
    async with asyncio.TaskGroup() as tasks:
        build = tasks.create_task(world.solve(ref="mine", exporters=(TypedAttrs(type="local"),)))
        result = await world.calls.call(subjects.build_bridge("mine"), BridgeSolve())
        await world.calls.call(subjects.build_bridge("mine"), BridgeReturn(result=result))
        done = await build
    assert done.exporter_response == {"tree.0": "scratch"}
    assert world.executor.ran == []


async def test_ignoring_the_cache_runs_again_and_dependents_may_still_hit(world: Neighbours) -> None:
    """`--no-cache` of one step."""
    await world.solve(sh(image(), "one"))
    await world.solve(sh(image(), "one", ignore_cache=True))
    assert world.executor.ran == ["one", "one"]


async def test_missing_source_names_itself(world: Neighbours) -> None:
    """The error of the resolver, with the step it belongs to."""
    with pytest.raises(BuildFailed, match="missing: not found") as caught:
        await world.solve(sh(image("missing"), "one"))
    assert caught.value.detail("errdefs.Vertex+json") is not None


def test_canceled_is_an_error_of_the_tree() -> None:
    """What a cancelled build raises for those who still listen."""
    assert Canceled("context canceled").status_code == 1


async def test_a_definition_without_ops_is_scratch_and_nobody_drives_it(world: Neighbours) -> None:
    """It must not wait for a client's Return."""
    done = await world.solve(scratch=True, exporters=(TypedAttrs(type="local"),))
    assert done.exporter_response == {"tree.0": "scratch"}


async def test_a_build_that_wants_the_proxy_network_is_refused(world: Neighbours) -> None:
    """Without it steps would reach what the client means to see, and to forbid."""
    with pytest.raises(Unsupported, match="proxy network"):
        await world.solve(proxy_network=True)
