"""Reads attestations of a result: what the solver made, and files of results that frontends made (exporter/attestation/unbundle.go)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from services.exporter.adapters.executors import home_subject
from services.exporter.core.attestations import MAX_BYTES, PROVENANCE, Predicate, SubjectKind, SubjectWish
from shared.bus.calls import Calls
from shared.errors import BuildFailed
from shared.model import Ref
from shared.wire.messages import ExportAttestation, FileData, FileStats, ReadRefDir, ReadRefFile, Scope

_BUNDLE = 1
_GO_TYPE_BITS = 0x8F280000
"""The bits of Go's file mode that are set for anything but a regular file."""


class AttestationReader:
    """On behalf of one build."""

    def __init__(self, calls: Calls, scope: Scope) -> None:
        self._calls, self._scope = calls, scope

    async def read(self, attestations: Sequence[ExportAttestation]) -> list[Predicate]:
        """Bundles opened; core documents first. Raises BuildFailed for what may not be an attestation, RefLost."""
        found: list[Predicate] = []
        for attestation in attestations:
            if attestation.kind == _BUNDLE:
                found += await self._bundle(attestation)
            else:
                found.append(await self._single(attestation))
        return sorted(found, key=lambda predicate: not predicate.first)

    async def _single(self, attestation: ExportAttestation) -> Predicate:
        if not attestation.path:
            raise BuildFailed("attestation does not have set path")
        data = attestation.content
        if not data:
            if attestation.predicate_type.startswith(PROVENANCE):
                raise BuildFailed("frontend may not set provenance attestations")
            if attestation.ref is None:
                raise BuildFailed("attestation does not have available content")
            data = await self._file(attestation.ref, attestation.path)
        return _predicate(attestation, attestation.path, attestation.predicate_type, data, tuple(map(_wish, attestation.subjects)))

    async def _bundle(self, attestation: ExportAttestation) -> list[Predicate]:
        if attestation.ref is None:
            raise BuildFailed("no ref provided for attestation bundle")
        subject = home_subject(attestation.ref)
        folder = attestation.path or "/"
        stats: FileStats = await self._calls.call(subject, ReadRefDir(ref=attestation.ref, path=folder, scope=self._scope))
        found = []
        for entry in sorted(stats.entries, key=lambda e: e.path):
            path = f"{folder.rstrip('/')}/{entry.path}"
            if entry.mode & _GO_TYPE_BITS:
                raise BuildFailed(f"{path[:200]} is not a regular file")
            found.append(self._entry(attestation, path, await self._file(attestation.ref, path)))
        return found

    def _entry(self, bundle: ExportAttestation, path: str, data: bytes) -> Predicate:
        try:
            value = json.loads(data)
            kind = str(value["predicateType"])
            subjects = tuple(_raw(subject) for subject in value.get("subject") or ())
            predicate = json.dumps(value.get("predicate"), ensure_ascii=False).encode("utf-8", "replace")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BuildFailed(f"cannot decode in-toto statement: {error}") from None
        if bundle.predicate_type and kind != bundle.predicate_type:
            raise BuildFailed(f"bundle entry {kind[:200]} does not match required predicate type {bundle.predicate_type[:200]}")
        if kind.startswith(PROVENANCE):
            raise BuildFailed("frontend may not bundle provenance attestations")
        return _predicate(bundle, path, kind, predicate, subjects)

    async def _file(self, ref: Ref, path: str) -> bytes:
        answer: FileData = await self._calls.call(
            home_subject(ref), ReadRefFile(ref=ref, path=path, scope=self._scope, length=MAX_BYTES + 1)
        )
        if len(answer.data) > MAX_BYTES:
            raise BuildFailed(f"{path[:200]} exceeds {MAX_BYTES} bytes")
        return answer.data


def _predicate(source: ExportAttestation, path: str, kind: str, data: bytes, subjects: tuple[SubjectWish, ...]) -> Predicate:
    core = source.metadata.get("sbom-core", b"").decode("utf-8", "replace")
    return Predicate(
        path=path,
        predicate_type=kind,
        data=data,
        subjects=subjects,
        inline_only=is_inline_only(source),
        first=bool(core) and path.rpartition("/")[2].partition(".")[0] == core,
    )


def is_inline_only(attestation: ExportAttestation) -> bool:
    """For images only, and then only for exporters that keep such ones."""
    return attestation.metadata.get("inline-only") == b"true"


def _wish(given: Mapping[str, str]) -> SubjectWish:
    kind = given.get("kind", "0")
    if kind not in ("0", "1"):
        raise BuildFailed(f"unknown attestation subject type {kind[:20]}")
    digests = dict(pair.split(":", 1) for pair in given.get("digest", "").split(",") if ":" in pair)
    return SubjectWish(kind=SubjectKind(int(kind)), name=given.get("name", ""), digests=digests)


def _raw(subject: Mapping[str, Any]) -> SubjectWish:
    digests = {str(key): str(value) for key, value in (subject.get("digest") or {}).items()}
    return SubjectWish(kind=SubjectKind.RAW, name=str(subject.get("name") or ""), digests=digests)
