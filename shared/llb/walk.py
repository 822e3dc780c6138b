"""Walking a definition."""

from collections.abc import Iterator

from shared.llb.definition import Definition
from shared.llb.ops import Op
from shared.model import Digest


def walk(definition: Definition) -> Iterator[tuple[Digest, Op]]:
    """Every op that the result needs, once, inputs first (the order in which a decoded definition keeps them)."""
    yield from definition.ops.items()
