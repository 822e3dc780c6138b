"""What frontends warn of, on its way into the log of their build; so much of it, that a hostile one fills nobody's memory."""

from collections.abc import Sequence

from services.solver.service.bounds import Bound
from shared.errors import InvalidInput
from shared.model import Digest, Warn, is_digest
from shared.wire.messages import BridgeWarn

MOST = 10_000
MOST_BYTES = 64 << 20
"""Of all warnings of one build together, the file that they are about counted with each: the log has it with each."""


class Warnings:
    """Counts those of one build."""

    def __init__(self) -> None:
        self._bound = Bound(what="warnings", most=MOST, most_bytes=MOST_BYTES)

    def take(self, warning: BridgeWarn) -> Sequence[Warn]:
        """As the log has them. Raises InvalidInput for what is no vertex digest, Exhausted when there are too many."""
        if not is_digest(warning.digest):
            raise InvalidInput(f"invalid vertex digest: {warning.digest[:100]!r}")
        shown = [
            Warn(
                vertex=Digest(warning.digest),
                level=finding.level or 1,
                short=finding.short,
                detail=finding.detail,
                url=finding.url,
                info=warning.info,
                ranges=finding.ranges,
            )
            for finding in warning.findings
        ]
        self._bound.take(len(shown), sum(map(_size, shown)))
        return shown


def _size(warn: Warn) -> int:
    info = len(warn.info.data) + len(warn.info.definition) if warn.info is not None else 0
    return 200 + len(warn.short) + sum(map(len, warn.detail)) + info + 40 * len(warn.ranges)
