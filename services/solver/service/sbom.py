"""The SBOM of a result whose frontend made none (llbsolver/proc/sbom.go)."""

from dataclasses import replace

from services.solver.service.build import RunningBuild
from shared.errors import BuildFailed
from shared.llb import (
    MarshalDefaults,
    Scanner,
    SourceOp,
    decode_definition,
    decode_source_op,
    definition_state,
    encode_definition,
    encode_source_op,
    make_scanner,
    marshal,
)
from shared.oci import parse_reference
from shared.oci.result_platforms import result_platforms
from shared.wire.messages import SPDX, BridgeRef, BridgeResolveSource, BridgeResult, SourceMeta, sbom_bundle


async def with_sbom(build: RunningBuild, result: BridgeResult) -> BridgeResult:
    """The result with a bundle for each platform, if the request wants one and there is none. The scans run when somebody reads them.

    Raises BuildFailed for a scanner that is no image or can't be run.
    """
    wanted = build.request.attestations.get("sbom")
    if wanted is None or any(a.predicate_type == SPDX for group in result.attestations.values() for a in group):
        return result
    options = build.request.frontend_opts
    scanner = await _scanner(build, wanted["generator"], {k: v for k, v in wanted.items() if k != "generator"})
    attestations = dict(result.attestations)
    for target in result_platforms(result.metadata, build.default_platform):
        if result.refs and target.id not in result.refs:
            raise BuildFailed(f"could not find ref {target.id}")
        ref = result.refs[target.id] if result.refs else result.ref
        if ref is None or not ref.id:
            continue
        scanned = await _scan(build, scanner, target.id, ref, ignore_cache=options.get("no-cache") == "")
        attestations[target.id] = (*attestations.get(target.id, ()), sbom_bundle(scanned))
    return replace(result, attestations=attestations)


async def _scanner(build: RunningBuild, generator: str, parameters: dict[str, str]) -> Scanner:
    try:
        reference = parse_reference(generator).with_default_tag()
    except ValueError as error:
        raise BuildFailed(f"failed to parse sbom generator {generator}: {error}") from None
    mode = build.request.frontend_opts.get("image-resolve-mode", "default")
    question = BridgeResolveSource(
        source=encode_source_op(SourceOp(identifier=f"docker-image://{reference}")),
        platform=build.default_platform,
        resolve_mode=mode,
    )
    meta: SourceMeta = await build.look_up(question)
    found = decode_source_op(meta.source).identifier.removeprefix("docker-image://")
    return make_scanner(found, meta.image_config, build.default_platform, parameters)


async def _scan(build: RunningBuild, scanner: Scanner, name: str, ref: BridgeRef, *, ignore_cache: bool) -> BridgeRef:
    tree = definition_state(decode_definition(build.handles.get(ref.id).raw))
    scan = scanner.scan(name, tree, {}, ignore_cache=ignore_cache)
    return await build.load(
        encode_definition(marshal(scan, MarshalDefaults(platform=build.default_platform.normalized(), with_caps=False)))
    )
