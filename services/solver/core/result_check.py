"""Does a result have the platforms that were asked for? (exporter/verifier/platforms.go)"""

from collections.abc import Mapping, Sequence

from shared.llb.go_text import quote
from shared.model import Platform, format_platform, parse_platform
from shared.oci.result_platforms import TargetPlatform


def platform_warnings(options: Mapping[str, str], targets: Sequence[TargetPlatform], default: Platform, *, is_map: bool) -> list[str]:
    """What a client is told of the difference between its `platform` option and the result; empty = there is none."""
    asked = options["platform"].split(",") if "platform" in options else [format_platform(default.normalized())]
    wanted: dict[str, Platform] = {}
    told: list[str] = []
    for text in asked:
        try:
            platform = parse_platform(text).normalized()
        except ValueError as error:
            told.append(f"Invalid platform result requested {quote(text)}: {error}")
            continue
        if _shown(platform) in wanted:
            told.append(f"Duplicate platform result requested {quote(text)}")
        wanted[_shown(platform)] = platform
    return told or _mismatch(asked, wanted, [target.platform for target in targets], is_map=is_map)


def _mismatch(asked: Sequence[str], wanted: Mapping[str, Platform], found: Sequence[Platform], *, is_map: bool) -> list[str]:
    shown = [_shown(platform) for platform in found]
    if len(wanted) == 1 and len(found) == 1:
        (one,) = wanted.values()
        unversioned = Platform(
            os=found[0].os, architecture=found[0].architecture, variant=found[0].variant, os_features=found[0].os_features
        )
        if shown[0] in wanted or (not one.os_version and _shown(unversioned) in wanted):
            return []
        return [f"Requested platform {quote(asked[0])} does not match result platform {quote(shown[0])}"]
    if not is_map and len(wanted) > 1:
        return ["Multiple platforms requested but result is not multi-platform"]
    if len(wanted) == len(found) and all(platform in wanted for platform in shown):
        return []
    return [f"Requested platforms {','.join(sorted(wanted))} do not match result platforms {','.join(sorted(shown))}"]


def _shown(platform: Platform) -> str:
    return format_platform(platform.normalized(), full=True)
