"""From a result to its outputs: every exporter in parallel, then their second halves (push), then one map of answers."""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.solver.core.result_check import platform_warnings
from services.solver.ports import Exports
from services.solver.service.build import RunningBuild, all_refs
from shared.errors import RefLost, first_failure
from shared.model import CacheEntry, Digest, Platform, Ref, Warn
from shared.oci.result_platforms import PLATFORMS_KEY, result_platforms
from shared.wire.messages import Attestation, BridgeRef, BridgeResult, ExportAttestation, ExportDone, ExportResult, Scope, TypedAttrs

ATTEMPTS = 6
PACKED = ("image", "oci", "docker")
"""Exporters whose layers are packed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """On whose behalf an export runs (ports.ExportScope)."""

    session: str
    scope: Scope
    platform: Platform
    compatibility_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One exporter of the request with the name of its vertex."""

    index: int
    exporter: TypedAttrs
    name: str
    vertex: Digest


async def checked_outputs(exporters: Sequence[TypedAttrs], session: str, exports: Exports, *, first: int = 0) -> list[Output]:
    """Refuse bad exporters before anything runs. `first`: the number of the first one."""
    outputs = []
    for index, exporter in enumerate(exporters, first):
        vertex = _vertex(f"{session}-export-{index}")
        outputs.append(Output(index=index, exporter=exporter, name=await exports.check(exporter), vertex=vertex))
    return outputs


async def named_by_client(build: RunningBuild, result: BridgeResult, exports: Exports, first: int) -> list[Output]:
    """Outputs that the client's session asks for now that it can see the result, if the request says that there may be some."""
    request = build.request
    if not request.session_exporter:
        return []
    refs = [ref.id for ref in all_refs(result) if ref.id]
    found = await build.world.client_exporters.find(request.session, result.metadata, refs)
    return await checked_outputs(found, request.session, exports, first=first)


class Exporting:
    """Exports the result of one build."""

    def __init__(self, build: RunningBuild, exports: Exports) -> None:
        self._build = build
        self._exports = exports
        request = build.request
        self._where = Where(
            session=request.session,
            scope=build.scope,
            platform=build.default_platform,
            compatibility_version=request.compatibility_version or 30,
        )
        self._ours: Mapping[str, ExportAttestation] = {}
        self.roots: tuple[bytes, ...] = ()
        """Root descriptors (JSON) by exporter index, of images; empty for other exporters. For the history."""

    async def run(self, outputs: Sequence[Output], result: BridgeResult, attestations: Mapping[str, ExportAttestation]) -> dict[str, str]:
        """The exporter responses, merged in order (the last one wins), and what the frontend said. `attestations`: ours, by platform id."""
        self._ours = attestations
        await self._warn(outputs, result)
        inline = await self._inline(outputs, result)
        done = await _parallel([self._export(output, result, inline) for output in outputs])
        await _parallel([self._finalize(output, first) for output, first in zip(outputs, done, strict=True) if first.finalize])
        keys = [key for ids in self._keys(result).values() for key in ids]
        cached = await self._build.caching.export(self._build.request.cache_exports, keys, self._where)
        self.roots = tuple(_root(first.response) if o.exporter.type == "image" else b"" for o, first in zip(outputs, done, strict=True))
        response: dict[str, str] = {}
        for first in done:
            response |= first.response
        said = {k: v.decode("utf-8", "replace") for k, v in result.metadata.items() if k.startswith("frontend.")}
        return response | said | cached

    async def _warn(self, outputs: Sequence[Output], result: BridgeResult) -> None:
        """About a result that has other platforms than the client asked for: on the first output, or on a vertex of its own."""
        if PLATFORMS_KEY not in result.metadata and not result.refs and (result.ref is None or not result.ref.id):
            return
        default, options = self._build.default_platform, self._build.request.frontend_opts
        told = platform_warnings(options, result_platforms(result.metadata, default), default, is_map=bool(result.refs))
        if not told:
            return
        stream = self._build.stream
        vertex = outputs[0].vertex if outputs else _vertex(f"{self._build.ref}-verify")
        warnings = [Warn(vertex=vertex, level=0, short=text.encode()) for text in told]
        if outputs:
            stream.put(*warnings)
            return
        async with stream.step(vertex, "Verifying build result"):
            stream.put(*warnings)

    async def _inline(self, outputs: Sequence[Output], result: BridgeResult) -> dict[str, tuple[CacheEntry, ...]]:
        """With the layers of the first image among the outputs."""
        if all(option.type != "inline" for option in self._build.request.cache_exports):
            return {}
        image = next((output.exporter.attrs for output in outputs if output.exporter.type in PACKED), {})
        return await self._build.caching.inline(self._keys(result), image)

    def _keys(self, result: BridgeResult) -> dict[str, tuple[str, ...]]:
        """The cache keys of the results by platform id, "" for a single one."""
        refs = {"": result.ref} if result.ref is not None else {}
        found: dict[str, tuple[str, ...]] = {}
        for platform, ref in {**refs, **result.refs}.items():
            built = self._build.handles.get(ref.id).built if ref.id else None
            if built is not None:
                found[platform] = built.keys
        return found

    async def _export(self, output: Output, result: BridgeResult, inline: Mapping[str, tuple[CacheEntry, ...]]) -> ExportDone:
        async with self._build.stream.step(output.vertex, output.name):
            for attempt in range(1, ATTEMPTS + 1):
                resolved = await self._resolve(result)
                try:
                    return await self._exports.export(
                        output.exporter, output.index, output.vertex, resolved, self._where, self._build.stream.heard, inline
                    )
                except RefLost as error:
                    if attempt == ATTEMPTS:
                        raise
                    await self._lost(result, error.ref_id)
            raise AssertionError("unreachable")

    async def _finalize(self, output: Output, first: ExportDone) -> ExportDone:
        async with self._build.stream.step(output.vertex, output.name):
            await self._exports.finalize(first.finalize, output.vertex, self._where, self._build.stream.heard)
        return first

    async def _lost(self, result: BridgeResult, ref_id: str) -> None:
        """Drop the handle whose result is lost; when an ancestor is, we can't tell which, so all of them."""
        handles = [self._build.handles.get(ref.id) for ref in all_refs(result) if ref.id]
        hit = [h for h in handles if h.built is not None and h.built.ref is not None and h.built.ref.id == ref_id]
        for handle in hit or handles:
            await handle.lost(ref_id)

    async def _resolve(self, result: BridgeResult) -> ExportResult:
        theirs = {key: tuple([await self._attestation(a) for a in group]) for key, group in result.attestations.items()}
        attestations = {**theirs, **{key: (*theirs.get(key, ()), own) for key, own in self._ours.items()}}
        return ExportResult(
            ref=await self._ref(result.ref),
            is_map=bool(result.refs),
            refs={key: await self._ref(ref) for key, ref in result.refs.items()},
            metadata=result.metadata,
            attestations=attestations,
        )

    async def _attestation(self, a: Attestation) -> ExportAttestation:
        return ExportAttestation(
            kind=a.kind,
            path=a.path,
            ref=await self._ref(a.ref),
            metadata=a.metadata,
            predicate_type=a.predicate_type,
            subjects=a.subjects,
        )

    async def _ref(self, ref: BridgeRef | None) -> Ref | None:
        return None if ref is None or not ref.id else await self._build.handles.get(ref.id).ref()


def _vertex(name: str) -> Digest:
    return Digest("sha256:" + hashlib.sha256(name.encode()).hexdigest())


def _root(response: Mapping[str, str]) -> bytes:
    try:
        return base64.b64decode(response.get("containerimage.descriptor", ""), validate=True)
    except (ValueError, binascii.Error):
        return b""


async def _parallel(jobs: list) -> list[ExportDone]:  # type: ignore[type-arg]
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(job) for job in jobs]
    except BaseExceptionGroup as group:
        raise first_failure(group) from None
    return [task.result() for task in running]
