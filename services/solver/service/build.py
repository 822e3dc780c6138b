"""One running build: the three request shapes, sub-solves, and what the bridge may ask of it (control/control.go, llbsolver/solver.go)."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from services.solver.core.graph import DEFAULT_CLASS, LoadRules, load_graph, wanted_class, wanted_priority
from services.solver.core.provenance.callers import Producers, Request
from services.solver.core.provenance.sources import ImageSource
from services.solver.ports import BuildMemory, ClientExporters, ContainerHosts, Files, Fleet, Frontends, Regexes, Verdicts, Work
from services.solver.service.caching import CacheRoads, Caching, imports_in
from services.solver.service.containers import Containers
from services.solver.service.engine import Engine, Job, scope_for
from services.solver.service.frontend_runs import FrontendRuns
from services.solver.service.image_runs import ImageRuns
from services.solver.service.ledger import Ledger, inputs_of
from services.solver.service.policies import SourcePolicies
from services.solver.service.progress import Stream
from services.solver.service.resolving import Resolving
from services.solver.service.results import Handle, Handles, vertex_of
from services.solver.service.warnings import Warnings
from shared.errors import LEFT, BuildFailed, BuildmeshError, Code, Exhausted, InvalidInput, NotFound, first_failure, read_left, solve_detail
from shared.llb import Definition, decode_definition, decode_source_op, op_json
from shared.model import Digest, Platform, Ref
from shared.run import new_id
from shared.wire import subjects
from shared.wire.failure import from_failure
from shared.wire.messages import (
    Attestation,
    BridgeDefinitions,
    BridgeRef,
    BridgeResolveSource,
    BridgeResult,
    BridgeReturn,
    BridgeRunImage,
    BridgeSolve,
    BridgeWarn,
    RunFrontend,
    RunImage,
    Scope,
    SolveBuild,
    SourceMeta,
)

FRONTENDS = ("dockerfile.v0", "gateway.v0")
RETURN = "return"  # the name of the client's last word in the memory of the build
RUNNING = 256  # frontends of one build at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What all builds of a process share."""

    engine: Engine
    work: Work
    files: Files
    fleet: Fleet
    frontends: Frontends
    caches: CacheRoads
    memory: BuildMemory
    containers: ContainerHosts
    regexes: Regexes
    verdicts: Verdicts
    client_exporters: ClientExporters
    producers: Producers = field(default_factory=Producers)
    provenance_env: Mapping[str, Any] = field(default_factory=dict)


class RunningBuild:
    """State of one build from its claim to its answer."""

    def __init__(self, request: SolveBuild, entitlements: tuple[str, ...], world: World, stream: Stream, trace: str = "") -> None:
        self.request = _with_builtin_dockerfile(request)
        self.ref = request.ref
        self.stream = stream
        self.handles = Handles()
        self.runs = FrontendRuns(request.ref)
        self.job = Job(id=request.ref, session=request.session, entitlements=entitlements, identity=request.identity, trace=trace)
        self._world = world
        self.invocation = new_id()
        self.ledger = Ledger(_request(request.frontend, request.frontend_opts, request.frontend_inputs), world.producers)
        self.caching = Caching(world.caches, stream, request.session, scope_for([self.job]))
        self.containers = Containers(world.containers, self.handle, self.scope, world.fleet.default_platform)
        self._images = ImageRuns(world.containers, self.containers)
        self._warnings = Warnings()
        self._resolving = Resolving(world.work, stream, self.scope, world.fleet.default_platform)
        self._policies = self._resolving.policies = SourcePolicies(
            request.source_policy,
            request.source_policy_session,
            regexes=world.regexes,
            verdicts=world.verdicts,
            resolve=self._resolving.plain,
        )
        self._returned: asyncio.Future[BridgeResult] = asyncio.get_running_loop().create_future()
        self.ownership = asyncio.timeout(None)  # ends when another solver has taken the build over
        self._given: BridgeReturn | None = None
        self._running = 0
        self._klass = wanted_class(request.frontend_opts) or DEFAULT_CLASS
        self._priority = wanted_priority(request.frontend_opts) or 0

    @property
    def engine(self) -> Engine:
        """Where vertices are solved."""
        return self._world.engine

    @property
    def files(self) -> Files:
        """How files of results are read."""
        return self._world.files

    @property
    def scope(self) -> Scope:
        """On behalf of this build alone."""
        return scope_for([self.job])

    @property
    def world(self) -> World:
        """What it shares with other builds."""
        return self._world

    @property
    def default_platform(self) -> Platform:
        """Of ops and exports that name none."""
        return self._world.fleet.default_platform()

    async def result(self) -> BridgeResult:
        """What the request asks for; refs may still be lazy."""
        request = self.request
        if request.definition or request.frontend:
            return await self.solve(
                BridgeSolve(
                    definition=request.definition,
                    frontend=request.frontend,
                    frontend_opts=request.frontend_opts,
                    frontend_inputs=request.frontend_inputs,
                    cache_imports=request.cache_imports,
                )
            )
        if request.scratch:
            return BridgeResult()
        return await self._returned

    # --- what outlives this solver

    @property
    def is_driven(self) -> bool:
        """By a client, which says over the bridge what it wants."""
        return not (self.request.definition or self.request.frontend or self.request.scratch)

    async def resume(self) -> None:
        """Take the build over from a solver that is gone: what the client has been given is found when it is asked for."""
        said = await self._world.memory.recall(self.ref, RETURN)
        if isinstance(said, BridgeReturn):
            await self.give(said)

    async def _keep(self, name: str, message: BridgeRef | BridgeReturn) -> None:
        if self.is_driven:
            await self._world.memory.keep(self.ref, name, message)

    async def handle(self, id: str) -> Handle:
        """The handle of this name, perhaps one that a solver gave out which is gone. Raises NotFound `no such ref: <id>`."""
        if id not in self.handles:
            kept = await self._world.memory.recall(self.ref, id)
            if isinstance(kept, BridgeRef) and kept.id == id and kept.definition and id not in self.handles:
                await self.load(kept.definition, id=id)
                self.ledger.client.handles.append(id)
        return self.handles.get(id)

    # --- what the bridge asks

    async def solve(self, request: BridgeSolve) -> BridgeResult:
        """A sub-solve; lazy unless `evaluate`."""
        if request.definition and request.frontend:
            raise InvalidInput("cannot solve with both Definition and Frontend specified")
        self._klass = wanted_class(request.frontend_opts) or self._klass
        if (priority := wanted_priority(request.frontend_opts)) is not None:
            self._priority = priority
        await self.caching.bring((*request.cache_imports, *imports_in(request.frontend_opts)))
        caller = self.ledger.caller(request.caller)
        if request.frontend:
            started = self.ledger.begin(caller, _request(request.frontend, request.frontend_opts, request.frontend_inputs))
            result = await self._run_frontend(request, started.id)
            self.ledger.end(caller, started, [self.handles.get(ref.id) for ref in all_refs(result) if ref.id])
        elif request.definition:
            result = BridgeResult(ref=await self.load(request.definition, policies=request.source_policies))
            caller.handles += [ref.id for ref in all_refs(result) if ref.id]
        else:
            result = BridgeResult()
        if not self._running:  # a frontend that runs goes with its solver and is run again
            for ref in all_refs(result):
                if ref.id:
                    await self._keep(ref.id, BridgeRef(id=ref.id, definition=self.handles.get(ref.id).raw))
        if request.evaluate:
            await self.evaluate(result)
        return result

    async def load(self, raw: bytes, *, id: str = "", policies: Sequence[bytes] = ()) -> BridgeRef:
        """A handle for the result of a definition; nothing runs yet, and nobody is told to have asked for it."""
        try:
            definition = await self._policies.definition(decode_definition(raw), policies)
            rules = LoadRules(
                default_platform=self.default_platform,
                entitlements=self.job.entitlements,
                klass=self._klass,
                priority=self._priority,
            )
            output = load_graph(definition, rules)
        except BuildmeshError as error:
            error.status_code = Code.UNKNOWN  # clients print the bare text, as for any failed build
            raise error.prefixed("failed to load LLB") from None
        handle = self.handles.add(Handle(self.engine, self.ref, raw, definition, output, id=id, explain=self._explain))
        return BridgeRef(id=handle.id, definition=raw)

    def _explain(self, error: BuildmeshError, definition: Definition) -> BuildmeshError:
        """With the failed op, and names for what it left: clients open containers over that (solver/errdefs/solve.go)."""
        found = error.detail(LEFT)
        left = read_left(found) if found is not None else None
        error.details = tuple(detail for detail in error.details if detail.type_url != LEFT)
        digest = Digest(vertex_of(error))
        data = definition.data.get(digest)
        if data is None or error.detail("errdefs.Solve+json") is not None:
            return error
        value: dict[str, Any] = {"op": op_json(data)}
        if description := definition.about(digest).description:
            value["description"] = dict(description)
        if left is not None:
            value |= {name: {key: str(item) for key, item in found.items()} for name, found in left.subject.items()}
            value["inputIDs"] = self.handles.left(self.engine, left.inputs)
            value["mountIDs"] = self.handles.left(self.engine, left.mounts)
        return error.with_details(solve_detail(value))

    async def _run_frontend(self, request: BridgeSolve, caller: str) -> BridgeResult:
        if request.frontend not in FRONTENDS:
            raise BuildFailed(f"invalid frontend: {request.frontend[:100]}")
        if self._running >= RUNNING:
            raise Exhausted(f"more than {RUNNING} frontends of one build at a time")
        order = RunFrontend(
            build=self.ref,
            bridge=subjects.build_runs(self.ref),
            frontend=request.frontend,
            opts=request.frontend_opts,
            inputs=request.frontend_inputs,
            session=self.job.session,
            caller=caller,
            workers=self._world.fleet.workers(),
        )
        self._running += 1
        try:
            with self.runs.open(caller):
                result = await self._world.frontends.run(order)
        finally:
            self._running -= 1
        return await self.checked(result)

    async def run_image(self, request: BridgeRunImage) -> BridgeResult:
        """What a frontend returns that runs as a container in the tree of a result."""
        handle = await self.handle(request.ref)

        def order(ref: Ref) -> RunImage:
            return RunImage(
                root=ref,
                op=request.op,
                bridge=subjects.build_runs(self.ref),
                platform=self.default_platform,
                scope=self.scope,
                definition=handle.raw,
                inputs=request.inputs,
                caller=request.caller,
            )

        return await self.checked(await self._images.run(handle, request.caller, order))

    async def checked(self, result: BridgeResult) -> BridgeResult:
        """The result, when all its refs are this build's."""
        for ref in all_refs(result):
            if ref.id:
                try:
                    await self.handle(ref.id)
                except NotFound:
                    raise NotFound(f"return reference {ref.id[:100]} not found") from None
        return result

    async def evaluate(self, result: BridgeResult) -> None:
        """Solve every ref of the result, in parallel; the first error ends the others."""
        handles = [self.handles.get(ref.id) for ref in all_refs(result) if ref.id]
        await _all_refs_of(handles)

    async def evaluate_ref(self, id: str) -> None:
        """Solve one ref."""
        if id:
            await (await self.handle(id)).ref()

    def inputs(self) -> BridgeDefinitions:
        """The frontend inputs of the request."""
        return BridgeDefinitions(definitions=dict(self.request.frontend_inputs))

    def warn(self, warning: BridgeWarn) -> None:
        """Show warnings of a frontend. Raises InvalidInput, Exhausted."""
        self.stream.put(*self._warnings.take(warning))

    async def give(self, answer: BridgeReturn) -> None:
        """The client's last word, perhaps repeated. Raises BuildFailed for another one, NotFound for refs that are not this build's."""
        if self._given == answer:
            return
        result = await self.checked(answer.result or BridgeResult())
        if self._given is not None:
            raise BuildFailed("gateway result is already set")
        self._given = answer
        await self._keep(RETURN, answer)
        if answer.failure is not None:
            self._returned.set_exception(from_failure(answer.failure))
        else:
            self._returned.set_result(result)

    async def look_up(self, request: BridgeResolveSource) -> SourceMeta:
        """Facts about a source that the build itself needs: it is among nobody's materials."""
        return await self._resolving.resolve(request)

    async def resolve_source(self, request: BridgeResolveSource) -> SourceMeta:
        """Facts about a source; who looked an image up has it among its materials."""
        meta = await self.look_up(request)
        if meta.image_digest:
            scheme, _, ref = decode_source_op(meta.source).identifier.partition("://")
            local = scheme != "docker-image"
            image = ImageSource(ref=ref, digest=meta.image_digest, platform=request.platform, local=local)
            self.ledger.caller(request.caller).images.append(image)
        return meta


async def _all_refs_of(handles: list[Handle]) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            for handle in handles:
                tasks.create_task(_discard(handle))
    except BaseExceptionGroup as group:
        raise first_failure(group) from None


async def _discard(handle: Handle) -> None:
    await handle.ref()


def all_refs(result: BridgeResult) -> list[BridgeRef]:
    """Every ref of a result, attestations included."""
    refs = [result.ref] if result.ref is not None else []
    refs.extend(result.refs.values())
    attestations: Mapping[str, tuple[Attestation, ...]] = result.attestations
    refs.extend(a.ref for group in attestations.values() for a in group if a.ref is not None)
    return refs


def _request(frontend: str, options: Mapping[str, str], inputs: Mapping[str, bytes]) -> Request:
    return Request(frontend=frontend, options=dict(options), inputs=inputs_of(inputs))


def _with_builtin_dockerfile(request: SolveBuild) -> SolveBuild:
    """`gateway.v0` with source `dockerfile.v0` means the built-in one, unless a named context takes that name."""
    opts = dict(request.frontend_opts)
    named = any(k == "context:dockerfile.v0" or k.startswith("context:dockerfile.v0::") for k in opts)
    if request.frontend != "gateway.v0" or opts.get("source") != "dockerfile.v0" or named:
        return request
    del opts["source"]
    return replace(request, frontend="dockerfile.v0", frontend_opts=opts)
