"""Handles of results: lazy, valid within one build, named by ids that nobody can guess."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from services.solver.core.definition_json import definition_json
from services.solver.core.vertex import Output
from services.solver.service.bounds import Bound
from services.solver.service.engine import Built, Engine
from shared.errors import BuildmeshError, InvalidInput, NotFound, RefLost, source_detail
from shared.llb import Definition, decode_definition
from shared.model import Digest, Ref, SourceInfo
from shared.run import new_id

T = TypeVar("T")
ATTEMPTS = 6


class Handle:
    """One result that may not exist yet. `output` None = scratch."""

    def __init__(
        self,
        engine: Engine,
        job: str,
        raw: bytes,
        definition: Definition,
        output: Output | None,
        *,
        id: str = "",
        explain: Callable[[BuildmeshError, Definition], BuildmeshError] = lambda error, _: error,
    ) -> None:
        self._explain = explain
        self.id = (id or new_id()) if output is not None else ""
        self.raw = raw
        self._engine = engine
        self._job = job
        self._definition = definition
        self._output = output
        self._built: Built | None = None

    async def ref(self) -> Ref | None:
        """The result, solved on first use. Errors carry the lines of the definition's source that they belong to."""
        if self._output is None:
            return None
        if self._built is None:
            try:
                self._built = await self._engine.build(self._output, job=self._job)
            except BuildmeshError as error:
                raise self._explain(with_sources(error, self._definition), self._definition) from None
        return self._built.ref

    @property
    def built(self) -> Built | None:
        """The result when it is there already."""
        return self._built

    @property
    def output(self) -> Output | None:
        """Where it comes from; None = scratch."""
        return self._output

    @property
    def weight(self) -> int:
        """About how many bytes are kept for it."""
        return len(self.raw) + OP_BYTES * len(self._definition.data)

    @property
    def head(self) -> str:
        """The digest of the definition's last op, "" for scratch."""
        return self._definition.result.digest if self._definition.result is not None else ""

    async def lost(self, ref_id: str) -> None:
        """It is gone after all; the next `ref` makes it again."""
        built, self._built = self._built, None
        if built is not None:
            await self._engine.lost(built, built.ref.id if built.ref is not None else ref_id)

    async def use(self, work: Callable[[Ref | None], Awaitable[T]]) -> T:
        """Do something with the ref; when it turns out to be lost, make it again and repeat."""
        for _ in range(ATTEMPTS - 1):
            try:
                return await work(await self.ref())
            except RefLost as error:
                await self.lost(error.ref_id)
        return await work(await self.ref())


class LeftHandle(Handle):
    """A tree that a failed step left behind. It can't be made again."""

    def __init__(self, engine: Engine, ref: Ref) -> None:
        super().__init__(engine, "", b"", Definition(), None)
        self.id = new_id()
        self._ref = ref

    async def ref(self) -> Ref | None:
        """Always the same."""
        return self._ref


def with_sources(error: BuildmeshError, definition: Definition) -> BuildmeshError:
    """The error with the source ranges of the vertex it names (solver/llbsolver/result.go wrapError)."""
    locations = definition.locations.get(Digest(vertex_of(error)), ())
    for location in reversed(locations):  # clients read them from the last to the first
        source = definition.sources[location.source]
        info = SourceInfo(filename=source.filename, data=source.data, language=source.language)
        error.with_details(source_detail(info, location.ranges, _loaded_by(source.definition)))
    return error


def vertex_of(error: BuildmeshError) -> str:
    """The digest of the vertex that the error names, "" for none."""
    detail = error.detail("errdefs.Vertex+json")
    named = detail.json() if detail is not None else None
    digest = named.get("digest") if isinstance(named, dict) else None
    return digest if isinstance(digest, str) else ""


def _loaded_by(raw: bytes) -> dict[str, Any] | None:
    try:
        return definition_json(decode_definition(raw)) if raw else None
    except InvalidInput:
        return None


MOST = 20_000
MOST_BYTES = 256 << 20
OP_BYTES = 1024  # what an op takes once it is read, beyond its own bytes


class Handles:
    """The handles of one build. They live as long as it does, so a frontend that never stops asking has to be stopped."""

    def __init__(self) -> None:
        self._by_id: dict[str, Handle] = {}
        self._bound = Bound(what="results", most=MOST, most_bytes=MOST_BYTES)

    def add(self, handle: Handle) -> Handle:
        """Make it findable. Raises Exhausted."""
        if handle.id:
            self._bound.take(1, handle.weight)
            self._by_id[handle.id] = handle
        return handle

    def __contains__(self, id: str) -> bool:
        return id in self._by_id

    def left(self, engine: Engine, refs: Sequence[Ref | None]) -> list[str]:
        """Names for trees that a failed step left; "" for none."""
        return ["" if ref is None else self.add(LeftHandle(engine, ref)).id for ref in refs]

    def get(self, id: str) -> Handle:
        """Raises NotFound `no such ref: <id>`."""
        handle = self._by_id.get(id)
        if handle is None:
            raise NotFound(f"no such ref: {id[:100]}")
        return handle
