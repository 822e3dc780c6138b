"""A definition as Go's encoding/json writes pb.Definition; it travels in the Source detail of errors."""

import base64
from typing import Any

from services.solver.core.go_json import fields, pointer
from shared.llb import Definition, Metadata


def definition_json(definition: Definition) -> dict[str, Any]:
    """`{"def": [base64…], "metadata": {digest: {…}}}`; source maps of source maps are left out."""
    ops = [*definition.data.values(), *([definition.pointer] if definition.pointer else [])]
    metadata = {str(digest): _metadata(about) for digest, about in definition.metadata.items()}
    return fields(**{"def": tuple(base64.b64encode(op).decode() for op in ops), "metadata": metadata})


def _metadata(about: Metadata) -> pointer:
    group = about.progress_group
    return pointer(
        fields(
            ignore_cache=about.ignore_cache,
            description=about.description,
            export_cache=None if about.export_cache is None else pointer(fields(Value=about.export_cache)),
            caps=about.caps,
            progress_group=None if group is None else pointer(fields(id=group.id, name=group.name, weak=group.weak)),
        )
    )
