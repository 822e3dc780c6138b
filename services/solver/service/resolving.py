"""Facts about sources, as frontends and clients ask for them: once per build for equal questions (llbsolver/bridge.go)."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace

from services.solver.ports import Work
from services.solver.service.bounds import Bound
from services.solver.service.policies import SourcePolicies
from services.solver.service.progress import Stream
from shared.errors import BuildmeshError, NotFound
from shared.llb import Op, decode_source_op, encode_op, encode_source_op
from shared.model import Digest, Platform, format_platform
from shared.wire.messages import BridgeResolveSource, ResolveSource, Scope, SourceMeta, SourceResolved

MOST = 10_000
MOST_BYTES = 64 << 20
"""Each question is a step that clients are shown, each answer is remembered."""


class Resolving:
    """Of one build. `policies` is set before the first question: it asks here, too."""

    policies: SourcePolicies

    def __init__(self, work: Work, stream: Stream, scope: Scope, platform: Callable[[], Platform]) -> None:
        self._work, self._stream, self._scope, self._platform = work, stream, scope, platform
        self._bound = Bound(what="questions about sources", most=MOST, most_bytes=MOST_BYTES)
        self._resolved: dict[BridgeResolveSource, asyncio.Future[SourceMeta]] = {}

    async def resolve(self, request: BridgeResolveSource) -> SourceMeta:
        """As the policies want it. Raises BuildFailed for a source that they deny, Exhausted when too much was asked."""
        key = replace(request, caller="", log_name="")
        if (known := self._resolved.get(key)) is not None:
            return await asyncio.shield(known)
        self._bound.take(1, len(request.source) + sum(map(len, request.source_policies)))
        answer: asyncio.Future[SourceMeta] = asyncio.get_running_loop().create_future()
        self._resolved[key] = answer
        try:
            meta = await self._policed(request)
            self._bound.take(0, len(meta.image_config))
        except BaseException as error:
            del self._resolved[key]
            failed = error if isinstance(error, BuildmeshError) else NotFound("the question was given up")
            answer.set_exception(failed)
            answer.exception()  # nobody else may be waiting
            raise
        answer.set_result(meta)
        return meta

    async def _policed(self, request: BridgeResolveSource) -> SourceMeta:
        source = decode_source_op(request.source)
        wanted = await self.policies.source(source, request.platform, request.source_policies)
        return await self.plain(request if wanted == source else replace(request, source=encode_source_op(wanted)))

    async def plain(self, request: BridgeResolveSource) -> SourceMeta:
        """Without any policy. There is nothing to be told about a local directory."""
        source = decode_source_op(request.source)
        if source.scheme == "local":
            return SourceMeta(source=request.source)
        if request.session or request.store:
            extra = {"oci.session": request.session, "oci.store": request.store}
            source = replace(source, attrs={**source.attrs, **{k: v for k, v in extra.items() if v}})
        platform = (request.platform or self._platform()).normalized()
        name = request.log_name or f"resolve image config for {source.identifier}"
        vertex = Digest("sha256:" + hashlib.sha256((source.identifier + format_platform(platform, full=True)).encode()).hexdigest())
        order = ResolveSource(
            vertex=vertex,
            op=encode_op(Op(kind=source, platform=platform)),
            platform=platform,
            scope=self._scope,
            resolve_mode=request.resolve_mode,
            for_meta=True,
            no_config=request.no_config,
            return_object=request.return_object,
            image=request.image,
            checksum=request.checksum,
        )
        async with self._stream.step(vertex, name):
            return _meta(request, await self._work.resolve(order, self._stream.heard))


def _meta(request: BridgeResolveSource, resolved: SourceResolved) -> SourceMeta:
    return SourceMeta(
        source=request.source,
        image_digest=resolved.image_digest,
        image_config=resolved.image_config,
        git_checksum=resolved.git_checksum,
        git_ref=resolved.git_ref,
        git_commit_checksum=resolved.git_commit_checksum,
        git_commit_object=resolved.git_commit_object,
        git_tag_object=resolved.git_tag_object,
        http_checksum=resolved.http_checksum,
        http_filename=resolved.http_filename,
        http_last_modified=resolved.http_last_modified,
        http_wished=resolved.http_wished,
        http_suffix=request.checksum.suffix if request.checksum is not None else b"",
        chain=resolved.chain,
    )
