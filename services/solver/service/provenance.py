"""What the results of a build were made from, gathered when they are done: attestations for the exporters, records for the history.

Behaviour: solver/llbsolver/provenance.go, proc/provenance.go, history.go.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from services.solver.core.provenance.callers import Caller
from services.solver.core.provenance.predicate import Facts, Wishes, parse_wishes, predicate
from services.solver.core.provenance.sources import ImageSource, Sources, note, redacted
from services.solver.service.build import RunningBuild, all_refs
from services.solver.service.caching import compression_of
from services.solver.service.exports import PACKED
from services.solver.service.results import Handle
from shared.errors import BuildmeshError
from shared.llb.struct_json import BuildSteps, build_steps
from shared.model import Layer, Platform, Ref
from shared.oci.result_platforms import TargetPlatform, result_platforms
from shared.wire.messages import BridgeRef, BridgeResult, ChainNode, Compression, ExportAttestation, TypedAttrs

AT_ONCE = 8  # questions to executors
IN_TOTO = 0  # gateway.proto AttestationKind


class Provenance:
    """The provenance of one build's results; all of them are solved. Times in ns."""

    def __init__(self, build: RunningBuild, result: BridgeResult) -> None:
        self._build = build
        self._result = result
        self._targets = result_platforms(result.metadata, build.default_platform)
        self._steps: dict[str, BuildSteps] = {}
        self._own = {ref.id for ref in all_refs(result)}

    async def attestations(self, exporters: Sequence[TypedAttrs]) -> dict[str, ExportAttestation]:
        """By platform id; empty when none is asked for. What an exporter is about to pack is packed before, so that layers have names."""
        asked = self._build.request.attestations.get("provenance")
        if asked is None:
            return {}
        wishes = parse_wishes(asked)
        found: dict[str, ExportAttestation] = {}
        for target in self._targets:
            ref = self._result.refs.get(target.id, self._result.ref)
            if ref is not None and ref.id:
                compression = await self._packed(ref, exporters) if wishes.full else Compression()
                found[target.id] = _attestation(await self._predicate(ref, target.id, wishes, compression), wishes)
        return found

    async def records(self) -> dict[str, bytes]:
        """Predicates for the history: everything that is known without asking executors."""
        asked = self._build.request.attestations.get("provenance", {})
        wishes = Wishes(builder_id=asked.get("builder-id", ""))
        refs = {"": self._result.ref} if self._result.ref is not None else {}
        named = {**refs, **self._result.refs}
        return {key: await self._predicate(ref, key, wishes, None) for key, ref in named.items() if ref.id}

    async def _packed(self, ref: BridgeRef, exporters: Sequence[TypedAttrs]) -> Compression:
        first = next((e for e in exporters if e.type in PACKED), None)
        if first is None:
            return Compression()
        work, scope, heard = self._build.world.work, self._build.scope, self._build.stream.heard
        compression = compression_of(first.attrs)

        async def pack(ref: Ref | None) -> None:
            if ref is not None:
                await work.pack(ref, compression, scope, heard, only_known=False)

        await self._build.handles.get(ref.id).use(pack)
        return compression

    async def _predicate(self, ref: BridgeRef, target: str, wishes: Wishes, compression: Compression | None) -> bytes:
        """`compression` of the layers that executors are asked for; None = they aren't."""
        build = self._build
        handle = build.handles.get(ref.id)
        owner = build.ledger.client.owner(ref.id) or build.ledger.client
        sources = self._sources(handle, owner, target)
        steps = self._steps_of(handle) if wishes.full else None
        facts = Facts(
            asked=owner.asked(sources, build.world.producers),
            sources=sources,
            invocation=build.invocation,
            started=build.stream.started,
            finished=build.stream.now(),
            platform=build.default_platform,
            compatibility=build.request.compatibility_version or 30,
            env=build.world.provenance_env,
            steps=steps,
            layers=await self._layers(handle, steps, compression) if steps is not None else {},
        )
        return predicate(facts, wishes)

    def _steps_of(self, handle: Handle) -> BuildSteps:
        found = self._steps.get(handle.id)
        if found is None:
            found = self._steps[handle.id] = build_steps(handle.raw, redacted)
        return found

    def _sources(self, handle: Handle, owner: Caller, target: str) -> Sources:
        """Of the result, and of everything else that its caller had solved except the other results of the build."""
        found = self._of_graph(handle)
        for id in dict.fromkeys(owner.all_handles()):
            if id not in self._own:
                found.merge(self._of_graph(self._build.handles.get(id)))
        images = list(owner.all_images())
        for image in for_platform(images, target, self._targets) if target else images:
            found.add_image(image)
        return found

    def _of_graph(self, handle: Handle) -> Sources:
        found = Sources()
        if handle.built is not None and handle.output is not None:
            for made in self._build.engine.made_of(handle.output):
                note(found, made.op, made.pin)
        return found

    async def _layers(self, handle: Handle, steps: BuildSteps, compression: Compression | None) -> dict[str, list[list[dict[str, Any]]]]:
        if handle.built is None or handle.output is None:
            return {}
        nodes = {node.id: node for node in await self._build.world.caches.index.chain(handle.built.keys)}
        wanted: dict[str, Ref] = {}
        for made in self._build.engine.made_of(handle.output):
            number = steps.build.index.get(made.digest)
            for index, keys in made.keys.items():
                ref = made.ref or _stored(nodes, keys)
                if number is not None and ref is not None:
                    wanted[f"step{number}:{index}"] = ref
        limit = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            found = {step: tasks.create_task(self._layers_of(ref, compression, limit)) for step, ref in wanted.items()}
        return {step: [[_descriptor(layer) for layer in task.result()]] for step, task in found.items() if task.result()}

    async def _layers_of(self, ref: Ref, compression: Compression | None, limit: asyncio.Semaphore) -> tuple[Layer, ...]:
        if ref.layers or compression is None:
            return ref.layers
        async with limit:
            try:
                work, scope, heard = self._build.world.work, self._build.scope, self._build.stream.heard
                return await work.pack(ref, compression, scope, heard, only_known=True)
            except BuildmeshError:  # a result that is gone by now is told without layers
                return ()


def _attestation(content: bytes, wishes: Wishes) -> ExportAttestation:
    inline_only = b"true" if wishes.inline_only else b"false"
    return ExportAttestation(
        kind=IN_TOTO,
        path=wishes.filename,
        content=content,
        metadata={"reason": b"provenance", "inline-only": inline_only},
        predicate_type=wishes.version.predicate_type,
    )


def _stored(nodes: Mapping[str, ChainNode], keys: Sequence[str]) -> Ref | None:
    return next((node.ref for key in keys if (node := nodes.get(key)) is not None and node.ref is not None), None)


def _descriptor(layer: Layer) -> dict[str, Any]:
    return {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}


def for_platform(images: Sequence[ImageSource], target: str, targets: Sequence[TargetPlatform]) -> list[ImageSource]:
    """Without images of other platforms, where the same name was looked up for each platform of the result."""

    def matches(image: ImageSource, platform: Platform) -> bool:
        return image.platform is not None and image.platform.normalized() == platform.normalized()

    everywhere = {
        image.ref
        for image in images
        if all(any(other.ref == image.ref and matches(other, t.platform) for other in images) for t in targets)
    }
    own = next((t.platform for t in targets if t.id == target), None)

    def kept(image: ImageSource) -> bool:
        if own is None or image.platform is None or image.ref not in everywhere:
            return True
        return (image.platform.os, image.platform.architecture) == (own.os, own.architecture)

    return [image for image in images if kept(image)]
