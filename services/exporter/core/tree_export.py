"""Checks of `local` and `tar` results before anything is sent."""

from collections.abc import Mapping, Sequence

from shared.errors import InvalidInput
from shared.model import Ref
from shared.oci.result_platforms import PLATFORMS_KEY, TargetPlatform


def check_targets(
    targets: Sequence[TargetPlatform], metadata: Mapping[str, bytes], refs: Mapping[str, Ref | None], *, is_map: bool
) -> None:
    """Raises InvalidInput for a map without platforms, several platforms without a map, or a platform without a ref."""
    if is_map and PLATFORMS_KEY not in metadata:
        raise InvalidInput("unable to export multiple refs, missing platforms mapping")
    if not is_map and len(targets) > 1:
        raise InvalidInput("unable to export multiple platforms without map")
    for target in targets:
        if is_map and target.id not in refs:
            raise InvalidInput(f"failed to find ref for ID {target.id}")
