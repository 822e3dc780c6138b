"""image, oci and docker exports: pack, make documents, deliver."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime

from services.exporter.adapters.archive_tar import archive_chunks
from services.exporter.adapters.attestation_reader import is_inline_only
from services.exporter.core import names
from services.exporter.core.archive import archive_entries
from services.exporter.core.attestations import Predicate
from services.exporter.core.image import Image, ImagePlan, Part, base_diff_ids, build_image, plan_image, platform_epoch, response
from services.exporter.core.options import Kind, Options
from services.exporter.core.push_order import encode_push, push_order
from services.exporter.core.spdx import document_of, uncommented_files, with_layers
from services.exporter.core.tree_export import check_targets
from services.exporter.ports import Attestations, BlobSource, ClientFiles, Layers, Progress
from shared.errors import BuildFailed, InvalidInput, Unsupported
from shared.model import CacheEntry, Digest, Layer, Ref
from shared.oci.result_platforms import PLATFORMS_KEY, TargetPlatform, result_platforms
from shared.wire.messages import ExportDone, ExportResult, RunExport


class ImageExport:
    """One image export. The ports are bound to the build it runs for."""

    def __init__(self, *, layers: Layers, blobs: BlobSource, client: ClientFiles, progress: Progress, attestations: Attestations) -> None:
        self._attestations = attestations
        self._layers = layers
        self._blobs = blobs
        self._client = client
        self._progress = progress

    async def run(self, request: RunExport, options: Options) -> ExportDone:
        """Everything but the push, which is left for FinalizeExport."""
        result = request.result
        if options.kind is Kind.DOCKER and result.is_map:
            raise BuildFailed("docker exporter does not currently support exporting manifest lists")
        if options.compression == "estargz":
            raise Unsupported("compression type estargz is not supported by this server yet")
        plan = plan_image(
            options,
            result.metadata,
            is_map=result.is_map or _needs_index(result, options),
            default=request.platform,
            compatibility=request.compatibility_version,
            attested=any(result.attestations.values()),
        )
        targets = result_platforms(plan.metadata, request.platform)
        check_targets(targets, plan.metadata, result.refs, is_map=result.is_map)
        parts = await self._pack(plan, targets, _refs(request, targets), request.inline_cache)
        if plan.is_map:
            parts = [replace(part, attestations=await self._attested(result, part, request.vertex)) for part in parts]
        image = build_image(plan, parts)
        for document in image.documents:
            async with self._progress.step(document.status) if document.status else nullcontext():
                await self._blobs.keep([document])
        if options.kind is Kind.IMAGE:
            return self._finish_image(image, plan)
        return await self._finish_archive(image, plan, request.index)

    async def _attested(self, result: ExportResult, part: Part, vertex: Digest) -> tuple[Predicate, ...]:
        found = await self._attestations.read(result.attestations.get(part.target.id, ()))
        return tuple([await self._with_layers(predicate, part, vertex) for predicate in found])

    async def _with_layers(self, predicate: Predicate, part: Part, vertex: Digest) -> Predicate:
        document = document_of(predicate)
        if document is None or not part.layers:
            return predicate
        files = uncommented_files(document)
        layers = await self._layers.of_files(part.layers, files, vertex) if files else {}
        return replace(predicate, data=with_layers(document, layers))

    async def _pack(
        self,
        plan: ImagePlan,
        targets: Sequence[TargetPlatform],
        refs: Mapping[str, Ref | None],
        caches: Mapping[str, tuple[CacheEntry, ...]],
    ) -> list[Part]:
        parts = []
        async with self._progress.step("exporting layers"):
            for target in targets:
                ref = refs[target.id]
                packed = await self._pack_one(plan, target, ref) if ref is not None else ()
                parts.append(Part(target=target, layers=packed, inline_cache=caches.get(target.id) or caches.get("", ())))
        return parts

    async def _pack_one(self, plan: ImagePlan, target: TargetPlatform, ref: Ref) -> tuple[Layer, ...]:
        epoch = platform_epoch(plan, target) if plan.options.rewrite_timestamp else None
        if epoch is None:
            return await self._layers.pack(ref, plan.options)
        moment = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
        async with self._progress.step(f"rewriting layers with source-date-epoch {epoch} ({moment})"):
            return await self._layers.pack(ref, plan.options, rewrite_epoch=epoch, base_layers=len(base_diff_ids(plan, target)))

    def _finish_image(self, image: Image, plan: ImagePlan) -> ExportDone:
        options = plan.options
        named = names.image_names(options, plan.metadata, image.root.digest)
        answer, _ = response(image, names=named.text)
        if not (options.push and named.targets):
            return ExportDone(response=answer)
        order = push_order(image, named.targets, by_digest=options.push_by_digest, insecure=options.insecure)
        return ExportDone(response=answer, finalize=encode_push(order))

    async def _finish_archive(self, image: Image, plan: ImagePlan, index: int) -> ExportDone:
        named = names.archive_names(plan.options, plan.metadata)
        epoch = plan.options.epoch.seconds if plan.options.epoch is not None else None
        created = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(epoch, UTC)
        answer, root = response(image, names=named.text, created=created.strftime("%Y-%m-%dT%H:%M:%SZ"))
        if plan.options.tar:
            entries = archive_entries(image, root, named.targets, docker=plan.options.kind is Kind.DOCKER)
            async with self._progress.step("sending tarball"):
                await self._client.send_file(index, answer, archive_chunks(entries, self._blobs))
        else:
            await self._put_layout(image)
        return ExportDone(response=answer)

    async def _put_layout(self, image: Image) -> None:
        for layer in image.layers:
            await self._client.put_blob(layer.digest, layer.size, self._blobs.chunks(layer.digest))
        for document in image.documents:
            await self._client.put_blob(document.digest, len(document.data), self._blobs.chunks(document.digest))


def _needs_index(result: ExportResult, options: Options) -> bool:
    """Attestations make an index, unless all of them are for other exporters only."""
    all_ = [a for group in result.attestations.values() for a in group]
    return any(options.inline_attestations or not is_inline_only(a) for a in all_)


def _refs(request: RunExport, targets: Sequence[TargetPlatform]) -> Mapping[str, Ref | None]:
    result = request.result
    if result.is_map:
        return result.refs
    if len(targets) > 1:
        raise InvalidInput("cannot export multiple platforms without multi-platform enabled")
    if PLATFORMS_KEY in result.metadata and targets[0].id in result.refs:
        return result.refs
    return {targets[0].id: result.ref}
