"""A definition with some sources replaced: all that stands on them gets other digests (llbsolver/vertex.go recomputeDigests)."""

from collections.abc import Mapping
from dataclasses import replace

from shared.llb import Definition, SourceOp, encode_op, op_digest
from shared.llb.ops import Op
from shared.model import Digest


def with_sources_replaced(definition: Definition, sources: Mapping[Digest, SourceOp]) -> Definition:
    """`sources` by the digest of their ops. The bytes of what is not concerned stay as they are."""
    renamed: dict[Digest, Digest] = {}
    ops: dict[Digest, Op] = {}
    data: dict[Digest, bytes] = {}
    for digest, op in definition.ops.items():  # inputs come first
        inputs = tuple(replace(i, digest=renamed.get(i.digest, i.digest)) for i in op.inputs)
        changed, raw = replace(op, kind=sources.get(digest, op.kind), inputs=inputs), definition.data[digest]
        if changed != op:
            raw = encode_op(changed)
            renamed[digest] = op_digest(raw)
        ops[renamed.get(digest, digest)] = changed
        data[renamed.get(digest, digest)] = raw
    result = definition.result
    return replace(
        definition,
        ops=ops,
        data=data,
        result=None if result is None else replace(result, digest=renamed.get(result.digest, result.digest)),
        metadata={renamed.get(digest, digest): about for digest, about in definition.metadata.items()},
        locations={renamed.get(digest, digest): places for digest, places in definition.locations.items()},
    )
