"""What an SBOM gains when its image is exported: the layer that each file comes from (exporter/containerimage/attestations.go)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from services.exporter.core.attestations import Predicate
from shared.model import Digest

SPDX = "https://spdx.dev/Document"
TOOL = "Tool: buildkit-v0.32.2"
"""As BuildKit of this version calls itself: readers look for it."""
_VERSIONS = ("SPDX-2.1", "SPDX-2.2", "SPDX-2.3")
_MOST_FILES = 1_000_000


def document_of(predicate: Predicate) -> dict[str, Any] | None:
    """The SBOM of the result itself; None for other predicates, and for what can't be read: that is exported as it is."""
    if predicate.predicate_type != SPDX or not predicate.first:
        return None
    try:
        document = json.loads(predicate.data)
    except (ValueError, RecursionError):
        return None
    known = isinstance(document, dict) and document.get("spdxVersion") in _VERSIONS
    return document if known else None


def uncommented_files(document: Mapping[str, Any]) -> list[str]:
    """Names of files that nothing is said about; comments of scanners stay."""
    return list(dict.fromkeys(file["fileName"] for file in _uncommented(document)))[:_MOST_FILES]


def with_layers(document: dict[str, Any], layers: Mapping[str, Digest]) -> bytes:
    """The document with a comment for each file whose layer is known, and with us among its creators. Changes `document`."""
    for file in _uncommented(document):
        layer = layers.get(file["fileName"])
        if layer is not None:
            file["comment"] = f"layerID: {layer}"
    about = document.get("creationInfo")
    about = about if isinstance(about, dict) else {}
    creators = about.get("creators")
    document["creationInfo"] = {**about, "creators": [*(creators if isinstance(creators, list) else ()), TOOL]}
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def _uncommented(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    packages = [package for package in _list(document.get("packages")) if isinstance(package, dict)]
    for files in (document.get("files"), *(package.get("files") for package in packages)):
        for file in _list(files):
            if isinstance(file, dict) and isinstance(file.get("fileName"), str) and not file.get("comment"):
                yield file


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
