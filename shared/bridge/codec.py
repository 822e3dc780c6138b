"""LLBBridge requests and answers ↔ bridge messages."""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from shared.errors import InvalidInput
from shared.model import Platform, SourceInfo, SourcePosition, SourceRange
from shared.pb import apicaps_pb2, fsutil_stat_pb2, gateway_pb2, ops_pb2, worker_pb2
from shared.wire.build import (
    Attestation,
    BridgeRef,
    BridgeResolveSource,
    BridgeResult,
    BridgeSolve,
    BridgeWarn,
    FileStat,
    Finding,
    SourceMeta,
    TypedAttrs,
    Worker,
)
from shared.wire.containers import BridgeExec, BridgeNewContainer
from shared.wire.source_facts import AttestationChain, ChecksumWish, ImageWish

MAX_SUFFIX = 4 << 10
_UNNAMED = "sha256:" + "0" * 64
"""Inputs of containers are results, which have no digest of their own."""


def definition_bytes(message: Any) -> bytes:
    """A pb.Definition marshalled; empty when it holds no ops."""
    return bytes(message.SerializeToString()) if getattr(message, "def") else b""


def definitions(messages: Mapping[str, Any]) -> dict[str, bytes]:
    """Frontend inputs by name; an empty definition (scratch) stays as empty bytes."""
    return {name: definition_bytes(message) for name, message in messages.items()}


def read_solve(message: gateway_pb2.SolveRequest) -> BridgeSolve:
    """Raises InvalidInput when both a definition and a frontend are given."""
    definition = definition_bytes(message.Definition)
    if definition and message.Frontend:
        raise InvalidInput("cannot solve with both Definition and Frontend specified")
    return BridgeSolve(
        definition=definition,
        frontend=message.Frontend,
        frontend_opts=dict(message.FrontendOpt),
        frontend_inputs=definitions(message.FrontendInputs),
        cache_imports=tuple(TypedAttrs(type=c.Type, attrs=dict(c.Attrs)) for c in message.CacheImports),
        evaluate=message.Evaluate,
        source_policies=policies(message.SourcePolicies),
    )


def policies(messages: Sequence[Any]) -> tuple[bytes, ...]:
    """Rules about sources that hold for this request, marshalled."""
    return tuple(message.SerializeToString() for message in messages)


def platform(message: ops_pb2.Platform) -> Platform:
    """As sent, not normalized."""
    return Platform(
        os=message.OS,
        architecture=message.Architecture,
        variant=message.Variant,
        os_version=message.OSVersion,
        os_features=tuple(message.OSFeatures),
    )


def platform_message(found: Platform) -> ops_pb2.Platform:
    """The reverse."""
    return ops_pb2.Platform(
        OS=found.os,
        Architecture=found.architecture,
        Variant=found.variant,
        OSVersion=found.os_version,
        OSFeatures=found.os_features,
    )


def read_resolve(message: gateway_pb2.ResolveSourceMetaRequest) -> BridgeResolveSource:
    """Raises InvalidInput without a source."""
    if not message.HasField("Source"):
        raise InvalidInput("source is nil")
    return BridgeResolveSource(
        source=message.Source.SerializeToString(),
        platform=platform(message.Platform) if message.HasField("Platform") else None,
        log_name=message.LogName,
        resolve_mode=message.ResolveMode,
        no_config=message.Image.NoConfig,
        image=ImageWish(
            chain=message.Image.AttestationChain or bool(message.Image.ResolveAttestations),
            predicates=tuple(message.Image.ResolveAttestations),
        ),
        checksum=_read_checksum(message.HTTP.ChecksumRequest) if message.HTTP.HasField("ChecksumRequest") else None,
        return_object=message.Git.ReturnObject,
        source_policies=policies(message.SourcePolicies),
    )


def _read_checksum(message: gateway_pb2.ChecksumRequest) -> ChecksumWish:
    """Raises InvalidInput for what nobody computes."""
    if len(message.Suffix) > MAX_SUFFIX:
        raise InvalidInput(f"http checksum request suffix exceeds max size {MAX_SUFFIX}")
    if message.Algo not in (0, 1, 2):
        raise InvalidInput(f"unsupported checksum algorithm {message.Algo}")
    return ChecksumWish(algorithm=message.Algo, suffix=message.Suffix)


def read_image_config(message: gateway_pb2.ResolveImageConfigRequest) -> BridgeResolveSource:
    """The older call is the newer one about an image source. Raises InvalidInput for an unknown resolver type."""
    match message.ResolverType:
        case 0:
            scheme = "docker-image://"
        case 1:
            scheme = "oci-layout://"
        case other:
            raise InvalidInput(f"unknown resolver type {other}")
    return BridgeResolveSource(
        source=ops_pb2.SourceOp(identifier=scheme + message.Ref).SerializeToString(),
        platform=platform(message.Platform) if message.HasField("Platform") else None,
        log_name=message.LogName,
        resolve_mode=message.ResolveMode,
        session=message.SessionID,
        store=message.StoreID,
        source_policies=policies(message.SourcePolicies),
    )


def image_config_message(meta: SourceMeta, asked: str) -> gateway_pb2.ResolveImageConfigResponse:
    """`asked` is the name in the request; a policy may have replaced it."""
    source = ops_pb2.SourceOp.FromString(meta.source)
    name = source.identifier.partition("://")[2] or asked
    return gateway_pb2.ResolveImageConfigResponse(Digest=meta.image_digest, Config=meta.image_config, Ref=name)


def source_meta_message(meta: SourceMeta) -> gateway_pb2.ResolveSourceMetaResponse:
    """Only the part of the source's own kind is set."""
    message = gateway_pb2.ResolveSourceMetaResponse(Source=ops_pb2.SourceOp.FromString(meta.source))
    if meta.image_digest:
        message.Image.CopyFrom(gateway_pb2.ResolveSourceImageResponse(Digest=meta.image_digest, Config=meta.image_config))
        if meta.chain is not None:
            message.Image.AttestationChain.CopyFrom(_chain_message(meta.chain))
    if meta.git_checksum:
        message.Git.CopyFrom(
            gateway_pb2.ResolveSourceGitResponse(
                Checksum=meta.git_checksum,
                Ref=meta.git_ref,
                CommitChecksum=meta.git_commit_checksum,
                CommitObject=meta.git_commit_object,
                TagObject=meta.git_tag_object,
            )
        )
    if meta.http_checksum:
        message.HTTP.CopyFrom(
            gateway_pb2.ResolveSourceHTTPResponse(
                Checksum=meta.http_checksum, Filename=meta.http_filename, LastModified=_seconds(meta.http_last_modified)
            )
        )
        if meta.http_wished:
            message.HTTP.ChecksumResponse.Digest, message.HTTP.ChecksumResponse.Suffix = meta.http_wished, meta.http_suffix
    return message


def _chain_message(chain: AttestationChain) -> gateway_pb2.AttestationChain:
    message = gateway_pb2.AttestationChain(
        Root=chain.root,
        ImageManifest=chain.image_manifest,
        AttestationManifest=chain.attestation_manifest,
        SignatureManifests=chain.signature_manifests,
    )
    for digest, blob in chain.blobs.items():
        about = gateway_pb2.Descriptor(media_type=blob.media_type, digest=blob.digest, size=blob.size, annotations=blob.annotations)
        message.Blobs[digest].CopyFrom(gateway_pb2.Blob(descriptor=about, data=blob.data))
    return message


def _seconds(since_epoch: int) -> Timestamp | None:
    """0 is absent, as clients test for presence."""
    return Timestamp(seconds=since_epoch) if since_epoch else None


def read_result(message: gateway_pb2.Result) -> BridgeResult:
    """Old and new ways of naming refs alike."""
    ref: BridgeRef | None = None
    refs: dict[str, BridgeRef] = {}
    match message.WhichOneof("result"):
        case "refDeprecated":
            ref = BridgeRef(id=message.refDeprecated)
        case "refsDeprecated":
            refs = {key: BridgeRef(id=found) for key, found in message.refsDeprecated.refs.items()}
        case "ref":
            ref = _read_ref(message.ref)
        case "refs":
            refs = {key: _read_ref(found) for key, found in message.refs.refs.items()}
    return BridgeResult(
        ref=ref,
        refs=refs,
        metadata=dict(message.metadata),
        attestations={key: tuple(map(_read_attestation, found.attestation)) for key, found in message.attestations.items()},
    )


def result_message(result: BridgeResult) -> gateway_pb2.Result:
    """Refs are never left out where a client would dereference them: scratch is a Ref with an empty id."""
    message = gateway_pb2.Result(metadata=result.metadata)
    if result.refs:
        for key, found in result.refs.items():
            message.refs.refs[key].CopyFrom(_ref(found))
    elif result.ref is not None:
        message.ref.CopyFrom(_ref(result.ref))
    for key, attestations in result.attestations.items():
        message.attestations[key].attestation.extend(map(_attestation, attestations))
    return message


def _read_ref(message: gateway_pb2.Ref) -> BridgeRef:
    return BridgeRef(id=message.id, definition=definition_bytes(getattr(message, "def")))


def _ref(ref: BridgeRef | None) -> gateway_pb2.Ref:
    message = gateway_pb2.Ref(id=ref.id if ref else "")
    if ref is not None and ref.definition:
        getattr(message, "def").ParseFromString(ref.definition)
    return message


def _read_attestation(message: gateway_pb2.Attestation) -> Attestation:
    return Attestation(
        kind=int(message.kind),
        path=message.path,
        ref=_read_ref(message.ref) if message.HasField("ref") else None,
        metadata=dict(message.metadata),
        predicate_type=message.inTotoPredicateType,
        subjects=tuple({"kind": str(int(s.kind)), "name": s.name, "digest": ",".join(s.digest)} for s in message.inTotoSubjects),
    )


def _attestation(found: Attestation) -> gateway_pb2.Attestation:
    message = gateway_pb2.Attestation(
        metadata=found.metadata, ref=_ref(found.ref), path=found.path, inTotoPredicateType=found.predicate_type
    )
    message.kind = found.kind  # type: ignore[assignment]
    for subject in found.subjects:
        digests = [d for d in subject.get("digest", "").split(",") if d]
        entry = gateway_pb2.InTotoSubject(name=subject.get("name", ""), digest=digests)
        entry.kind = int(subject.get("kind", "0"))  # type: ignore[assignment]
        message.inTotoSubjects.append(entry)
    return message


def read_warning(message: gateway_pb2.WarnRequest) -> BridgeWarn:
    """Raises InvalidInput for a range without start or end."""
    finding = Finding(
        level=message.level,
        short=message.short,
        detail=tuple(message.detail),
        url=message.url,
        ranges=tuple(map(_range, message.ranges)),
    )
    info = _source_info(message.info) if message.HasField("info") else None
    return BridgeWarn(digest=message.digest, findings=(finding,), info=info)


def _source_info(message: ops_pb2.SourceInfo) -> SourceInfo:
    return SourceInfo(
        filename=message.filename, data=message.data, language=message.language, definition=definition_bytes(message.definition)
    )


def _range(message: ops_pb2.Range) -> SourceRange:
    if not (message.HasField("start") and message.HasField("end")):
        raise InvalidInput("warning range without start or end")
    return SourceRange(
        start=SourcePosition(line=message.start.line, character=message.start.character),
        end=SourcePosition(line=message.end.line, character=message.end.character),
    )


def stat_message(stat: FileStat) -> fsutil_stat_pb2.Stat:
    """An fsutil Stat."""
    return fsutil_stat_pb2.Stat(
        path=stat.path,
        mode=stat.mode,
        uid=stat.uid,
        gid=stat.gid,
        size=stat.size,
        modTime=stat.mod_time,
        linkname=stat.linkname,
        devmajor=stat.devmajor,
        devminor=stat.devminor,
        xattrs=stat.xattrs,
    )


def caps_message(ids: Sequence[str]) -> list[apicaps_pb2.APICap]:
    """All of them enabled."""
    return [apicaps_pb2.APICap(ID=id, Enabled=True) for id in ids]


def worker_message(worker: Worker) -> worker_pb2.WorkerRecord:
    """What Ping tells of a worker."""
    return worker_record(worker.id, worker.labels, worker.platforms)


def worker_record(id: str, labels: Mapping[str, str], platforms: Iterable[Platform]) -> worker_pb2.WorkerRecord:
    """Id, labels and platforms, the native one first."""
    return worker_pb2.WorkerRecord(ID=id, Labels=labels, platforms=[platform_message(p) for p in platforms])


def read_container(message: gateway_pb2.NewContainerRequest) -> BridgeNewContainer:
    """An op with the container's mounts and surroundings. Raises InvalidInput for an address that is none."""
    refs = tuple(m.resultID for m in message.Mounts if m.resultID)
    op = ops_pb2.Op()
    found = op.exec
    found.meta.args.extend(("container", message.ContainerID))
    found.meta.hostname = message.hostname
    found.network = message.Network
    for host in message.extraHosts:
        found.meta.extraHosts.add(Host=host.Host, IP=_address(host.IP))
    position = 0
    for given in message.Mounts:
        mount = found.mounts.add()
        mount.CopyFrom(given)
        mount.output = -1
        mount.input = position if given.resultID else -1
        position += bool(given.resultID)
    for _ in refs:
        op.inputs.add(digest=_UNNAMED)
    return BridgeNewContainer(
        id=message.ContainerID,
        op=op.SerializeToString(),
        refs=refs,
        platform=platform(message.platform) if message.HasField("platform") else None,
    )


def _address(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise InvalidInput(f"failed to parse IP {text[:100]}") from None
    return text


def read_process(id: str, message: gateway_pb2.InitMessage, landing: str) -> BridgeExec:
    """An op with what the process is."""
    op = ops_pb2.Op()
    op.exec.meta.CopyFrom(message.Meta)
    op.exec.security = message.Security
    op.exec.secretenv.extend(message.secretenv)
    op.exec.mounts.add(dest="/", input=-1, output=-1)
    return BridgeExec(
        container=message.ContainerID,
        process=id,
        op=op.SerializeToString(),
        landing=landing,
        fds=tuple(sorted(set(message.Fds))),
        tty=message.Tty,
    )
