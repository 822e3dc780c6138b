"""SBOMs with layers."""

import json
from typing import Any

import pytest

from services.exporter.core.attestations import Predicate
from services.exporter.core.spdx import SPDX, TOOL, document_of, uncommented_files, with_layers
from shared.model import Digest

LAYER = Digest("sha256:" + "a" * 64)


def predicate(document: Any, *, kind: str = SPDX, first: bool = True) -> Predicate:
    return Predicate(path="sbom.spdx.json", predicate_type=kind, data=json.dumps(document).encode(), first=first)


def test_files_without_a_comment_get_their_layer() -> None:
    files = [{"fileName": "/a"}, {"fileName": "./b", "comment": "mine"}, {"fileName": "gone"}, {"fileName": 3}, 4]
    packages = [{"name": "p", "files": [{"fileName": "in/package"}]}, None]
    document = document_of(predicate({"spdxVersion": "SPDX-2.2", "files": files, "packages": packages, "x": 1}))

    assert document is not None
    assert uncommented_files(document) == ["/a", "gone", "in/package"]
    made = json.loads(with_layers(document, {"/a": LAYER, "in/package": LAYER}))
    assert [f.get("comment") for f in made["files"][:3]] == [f"layerID: {LAYER}", "mine", None]
    assert made["packages"][0]["files"] == [{"fileName": "in/package", "comment": f"layerID: {LAYER}"}]
    assert (made["x"], made["creationInfo"]) == (1, {"creators": [TOOL]})


def test_those_who_made_it_stay() -> None:
    document = {"spdxVersion": "SPDX-2.3", "creationInfo": {"created": "now", "creators": ["Tool: t"]}}

    assert json.loads(with_layers(document, {}))["creationInfo"] == {"created": "now", "creators": ["Tool: t", TOOL]}


@pytest.mark.parametrize(
    "other",
    [
        predicate({"spdxVersion": "SPDX-2.3"}, kind="https://example.org"),
        predicate({"spdxVersion": "SPDX-2.3"}, first=False),
        predicate({"spdxVersion": "SPDX-3.0"}),
        predicate({"name": "no document"}),
        predicate([]),
        Predicate(path="p", predicate_type=SPDX, data=b"[" * 10_000, first=True),
    ],
)
def test_what_cannot_be_read_stays_as_it_is(other: Predicate) -> None:
    assert document_of(other) is None
