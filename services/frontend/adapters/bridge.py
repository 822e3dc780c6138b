"""The build's bridge as a Build: calls on `build.<ref>.runs` (docs/bus.md)."""

from collections.abc import Mapping, Sequence

from services.frontend.core.context import Entrypoint
from services.frontend.core.dockerfile.linter import LintWarning
from services.frontend.core.requests import Forward, ReadFile, ResolveSource, RunImage, Solve, SourceFacts, Tree
from services.frontend.core.to_llb.setting import source_ranges
from shared.bus.calls import Calls
from shared.errors import BuildmeshError, CallLost, Canceled, NotFound, UserError
from shared.llb import Definition, decode_definition, decode_source_op, encode_definition, encode_op, encode_source_op
from shared.model import SourceInfo, parse_digest
from shared.wire.messages import (
    BridgeReadFile,
    BridgeRef,
    BridgeResolveSource,
    BridgeResult,
    BridgeRunImage,
    BridgeSolve,
    BridgeWarn,
    FileData,
    Finding,
    RunFrontend,
    SourceMeta,
    TypedAttrs,
)


class BridgeBuild:
    """One build. `refs` keeps the handles it gave, by id, so that the result carries them whole."""

    def __init__(self, calls: Calls, request: RunFrontend) -> None:
        self._calls = calls
        self._subject = request.bridge
        self._inputs = request.inputs
        self._caller = request.caller
        self.refs: dict[str, BridgeRef] = {"": BridgeRef(id="")}

    async def solve(self, request: Solve) -> Tree:
        if not request.definition.data:
            return Tree()
        imports = tuple(TypedAttrs(type=i.type, attrs=dict(i.attrs)) for i in request.cache_imports)
        message = BridgeSolve(
            definition=encode_definition(request.definition), evaluate=request.evaluate, cache_imports=imports, caller=self._caller
        )
        result: BridgeResult = await self._calls.call(self._subject, message)
        ref = result.ref or BridgeRef(id="")
        self.refs[ref.id] = ref
        return Tree(id=ref.id)

    async def read_file(self, request: ReadFile) -> bytes:
        if not request.tree.id:
            raise NotFound(f"open {request.path}: no such file or directory")
        message = BridgeReadFile(ref=request.tree.id, path=request.path, length=request.length, caller=self._caller)
        answer: FileData = await self._calls.call(self._subject, message)
        return answer.data

    async def resolve_source(self, request: ResolveSource) -> SourceFacts:
        message = BridgeResolveSource(
            source=encode_source_op(request.source),
            platform=request.platform,
            log_name=request.log_name,
            resolve_mode=request.resolve_mode,
            return_object=request.return_object,
            session=request.source.attrs.get("oci.session", ""),
            store=request.source.attrs.get("oci.store", ""),
            caller=self._caller,
        )
        meta: SourceMeta = await self._calls.call(self._subject, message)
        identifier = decode_source_op(meta.source).identifier if meta.source else request.source.identifier
        return SourceFacts(
            identifier=identifier,
            digest=parse_digest(meta.image_digest) if meta.image_digest else None,
            config=meta.image_config or None,
            commit=meta.git_commit_object,
            last_modified=meta.http_last_modified or None,
        )

    def inputs(self) -> Mapping[str, Definition]:
        return {name: _input_definition(data) for name, data in self._inputs.items()}

    async def forward(self, request: Forward) -> BridgeResult:
        message = BridgeSolve(frontend=request.frontend, frontend_opts=request.options, frontend_inputs=self._inputs, caller=self._caller)
        return await self._nested(message)

    async def run_image(self, request: RunImage) -> BridgeResult:
        return await self._nested(BridgeRunImage(ref=request.tree.id, op=encode_op(request.op), inputs=self._inputs, caller=self._caller))

    async def _nested(self, message: BridgeSolve | BridgeRunImage) -> BridgeResult:
        answer = await self._calls.call(self._subject, message)
        assert isinstance(answer, BridgeResult)
        return answer

    async def warn(self, entrypoint: Entrypoint, warnings: Sequence[LintWarning]) -> None:
        """Warnings that can't be shown are lost, but for a build that is gone."""
        source = entrypoint.source_map
        message = BridgeWarn(
            digest=entrypoint.vertex,
            findings=tuple([_finding(warning) for warning in warnings]),
            info=SourceInfo(filename=source.filename, data=source.data, language=source.language, definition=source.definition),
            caller=self._caller,
        )
        try:
            await self._calls.call(self._subject, message)
        except (CallLost, Canceled):
            raise
        except BuildmeshError:
            return


def _finding(warning: LintWarning) -> Finding:
    return Finding(
        level=1,
        short=warning.short.encode("utf-8", "replace"),
        detail=(warning.rule.description.encode(),),
        url=warning.rule.url,
        ranges=source_ranges(warning.location),
    )


def _input_definition(data: bytes) -> Definition:
    """Every definition a client marshals says something about its ops; BuildKit takes one that doesn't for none at all."""
    definition = decode_definition(data)
    if not definition.metadata:
        raise UserError("invalid nil input definition to definition op")
    return definition
