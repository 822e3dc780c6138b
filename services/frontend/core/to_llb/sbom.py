"""Which stages and contexts are to be scanned for an SBOM (dockerfile2llb/convert.go, BUILDKIT_SBOM_SCAN_*)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.frontend.core.to_llb.setting import Setting
from services.frontend.core.to_llb.stage_state import StageState, reachable
from shared.llb import State
from shared.llb.go_text import parse_bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scans:
    """What is scanned besides the result, by name. `ignore_cache`: the scan runs even if it ran before, as one of the stages does."""

    extras: Mapping[str, State] = field(default_factory=dict)
    ignore_cache: bool = False


def wanted_scans(target: StageState, setting: Setting) -> Scans:
    """Of a target whose stages are all built."""
    extras = {"context": setting.build_context} if target.scan_context else {}
    stages = [stage for stage in reachable(target) if stage.scan_stage and stage is not target]
    extras |= {stage.shown_name: stage.state for stage in stages}
    return Scans(extras=extras, ignore_cache=any(stage.ignore_cache for stage in (target, *stages)))


def mark_scans(stage: StageState, setting: Setting) -> None:
    """Sets what the global scope or the stage's own ARGs say; the last word counts."""
    stage.scan_context |= _wanted(stage, setting, "BUILDKIT_SBOM_SCAN_CONTEXT")
    stage.scan_stage |= _wanted(stage, setting, "BUILDKIT_SBOM_SCAN_STAGE")


def _wanted(stage: StageState, setting: Setting, key: str) -> bool:
    values = [setting.global_args[key]] if key in setting.global_args else []
    values += [arg.value for arg in stage.build_args if arg.key == key and arg.value is not None]
    return bool(values) and _enabled(stage.shown_name, values[-1])


def _enabled(name: str, value: str) -> bool:
    flag = parse_bool(value)
    return name in value.split(",") if flag is None else flag
