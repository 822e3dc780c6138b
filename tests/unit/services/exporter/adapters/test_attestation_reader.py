"""What frontends may attest, and what they may not."""

import json
from typing import Any

import pytest

from services.exporter.adapters.attestation_reader import AttestationReader
from services.exporter.core.attestations import Predicate, SubjectKind, SubjectWish
from shared.errors import BuildFailed
from shared.model import Ref
from shared.wire.messages import ExportAttestation, FileData, FileStat, FileStats, ReadRefDir, Scope

REF = Ref(id="r", home="e")
SPDX = "https://spdx.dev/Document"
SLSA = "https://slsa.dev/provenance/v1"


class FakeCalls:
    """An executor that holds these files of one folder."""

    def __init__(self, files: dict[str, bytes], mode: int) -> None:
        self._files, self._mode = files, mode

    async def call(self, subject: str, request: Any) -> Any:
        if isinstance(request, ReadRefDir):
            return FileStats(entries=tuple(FileStat(path=path.rpartition("/")[2], mode=self._mode) for path in self._files))
        return FileData(data=self._files[request.path])


async def read(attestation: ExportAttestation, files: dict[str, bytes] | None = None, mode: int = 0o644) -> list[Predicate]:
    calls: Any = FakeCalls(files or {}, mode)
    return await AttestationReader(calls, Scope(lease="l")).read([attestation])


def statement(**fields: Any) -> bytes:
    return json.dumps({"predicateType": SPDX, "predicate": {"x": 1}, **fields}).encode()


async def test_what_the_solver_made_is_taken_as_it_is() -> None:
    (found,) = await read(ExportAttestation(kind=0, path="p.json", content=b"{}", predicate_type=SLSA, metadata={"inline-only": b"true"}))

    assert (found.data, found.inline_only) == (b"{}", True)


async def test_a_file_of_a_result() -> None:
    subjects = ({"kind": "1", "name": "n", "digest": "sha256:ab"},)
    (found,) = await read(ExportAttestation(kind=0, path="/a", ref=REF, predicate_type="t", subjects=subjects), {"/a": b"1"})

    assert found.data == b"1"
    assert found.subjects == (SubjectWish(kind=SubjectKind.RAW, name="n", digests={"sha256": "ab"}),)


async def test_a_bundle_is_opened_and_core_documents_come_first() -> None:
    bundle = ExportAttestation(kind=1, path="/out", ref=REF, predicate_type=SPDX, metadata={"sbom-core": b"sbom"})
    files = {"/out/extra.json": statement(subject=[{"name": "f", "digest": {"sha256": "ab"}}]), "/out/sbom.spdx.json": statement()}

    found = await read(bundle, files)

    assert [predicate.path for predicate in found] == ["/out/sbom.spdx.json", "/out/extra.json"]
    assert json.loads(found[0].data) == {"x": 1}
    assert found[1].subjects == (SubjectWish(kind=SubjectKind.RAW, name="f", digests={"sha256": "ab"}),)


REFUSED: list[tuple[dict[str, Any], dict[str, bytes], str]] = [
    ({"kind": 0, "path": "p", "ref": REF, "predicate_type": SLSA}, {}, "frontend may not set provenance"),
    ({"kind": 0, "ref": REF}, {}, "does not have set path"),
    ({"kind": 0, "path": "p"}, {}, "does not have available content"),
    ({"kind": 1, "path": "/out"}, {}, "no ref provided"),
    ({"kind": 1, "path": "/out", "ref": REF}, {"/out/a": b"[]"}, "cannot decode in-toto statement"),
    ({"kind": 1, "path": "/out", "ref": REF, "predicate_type": "t"}, {"/out/a": statement()}, "does not match required predicate type"),
    ({"kind": 1, "path": "/out", "ref": REF}, {"/out/a": statement(predicateType=SLSA)}, "may not bundle provenance"),
    ({"kind": 0, "path": "p", "content": b"1", "subjects": ({"kind": "7"},)}, {}, "unknown attestation subject type 7"),
]


@pytest.mark.parametrize(("attestation", "files", "message"), REFUSED)
async def test_what_may_not_be_is_named(attestation: dict[str, Any], files: dict[str, bytes], message: str) -> None:
    with pytest.raises(BuildFailed, match=message):
        await read(ExportAttestation(**attestation), files)


async def test_only_regular_files_are_read() -> None:
    with pytest.raises(BuildFailed, match="/out/a is not a regular file"):
        await read(ExportAttestation(kind=1, path="/out", ref=REF), {"/out/a": b""}, mode=1 << 27)
