"""The images that stages start from, and what their ONBUILD adds (convert.go resolveStages, resolveBaseImage)."""

from services.frontend.core.context import Contexts
from services.frontend.core.dockerfile.commands import Onbuild
from services.frontend.core.dockerfile.linter import Linter
from services.frontend.core.dockerfile.parser import parse
from services.frontend.core.dockerfile.stages import Stage, parse_instruction
from services.frontend.core.failure import DockerfileError, line_spans, located
from services.frontend.core.image import Image, empty_image
from services.frontend.core.named_context import image_of, reference_of, resolve_image
from services.frontend.core.requests import Asking, Together
from services.frontend.core.to_llb.checks import check_base_platform
from services.frontend.core.to_llb.names import prefixed
from services.frontend.core.to_llb.setting import Setting
from services.frontend.core.to_llb.stage_state import StageState, reachable
from services.frontend.core.to_llb.stage_table import add_step, named_context
from shared.llb import Constraints, image_source, scratch
from shared.llb.go_text import quote
from shared.model import Platform, format_platform, parse_digest

_MAX_ONBUILD_ROUNDS = 100

COMMON_IMAGES = ("alpine", "busybox", "centos", "debian", "golang", "ubuntu", "fedora")


def resolve_bases(setting: Setting, contexts: Contexts, target: StageState, *, all_stages: bool) -> Asking[dict[StageState, None]]:
    """Resolves until ONBUILD triggers need nothing new. Returns the stages that the target needs."""
    for _ in range(_MAX_ONBUILD_ROUNDS):
        needed = reachable(target)
        asks = [
            _resolve(stage, setting, contexts, stage in needed or all_stages)
            for stage in list(setting.table.stages)
            if _wants_base(stage, setting, stage in needed or all_stages)
        ]
        if asks:
            yield Together(asks)
        found = [_read_onbuild(stage, setting) for stage in needed]
        if True not in found:
            return needed
    raise DockerfileError("ONBUILD triggers of base images name each other without end").at(target.stage.location)


def _wants_base(stage: StageState, setting: Setting, needed: bool) -> bool:
    """Handles scratch at once."""
    if stage.base is not None or stage.dispatched or stage.resolved:
        return False
    stage.resolved = needed
    if stage.stage.base != "scratch" or stage.named_context is not None:
        return True
    stage.state = scratch()
    stage.image = empty_image(setting.target_platform)
    stage.platform = setting.target_platform
    stage.dispatched = stage.dispatched or stage.unregistered
    return False


def _resolve(stage: StageState, setting: Setting, contexts: Contexts, needed: bool) -> Asking[None]:
    with located(stage.stage.location):
        name = stage.stage.base
        try:
            reference = reference_of(name)
        except DockerfileError as error:
            raise error.prefixed(f"failed to parse stage name {quote(name)}") from None
        platform = stage.platform or setting.target_platform
        stage.stage.base = str(reference.with_default_tag())
        done = False
        if needed:
            done = yield from _from_context(stage, setting, contexts, platform)
        if not done:
            yield from _from_image(stage, setting, name, platform, needed)
    stage.dispatched = stage.dispatched or stage.unregistered


def _from_context(stage: StageState, setting: Setting, contexts: Contexts, platform: Platform) -> Asking[bool]:
    """True when a named context stands for the stage or for its image."""
    if stage.named_context is not None:
        stage.state, image = yield from stage.named_context.load()
        stage.dispatched = True
        if image is not None:
            image.created = ""
            stage.image = image
            if image.platform.architecture and image.platform.os:
                stage.platform = image.platform
        return True
    found = named_context(stage, stage.stage.base, platform, setting, contexts)
    if found is None:
        return False
    state, image = yield from found.load()
    image = image or empty_image(platform)
    stage.base_image = image.copy()
    image.created = ""
    stage.image = image
    stage.state = state.with_platform(platform)
    stage.platform = platform
    return True


def _from_image(stage: StageState, setting: Setting, name: str, platform: Platform, needed: bool) -> Asking[None]:
    """An image of a registry. Of one that is not needed only the name is taken."""
    is_empty = False
    if needed:
        platform = yield from _load_config(stage, setting, name, platform)
        is_empty = not stage.image.diff_ids and all(entry.empty_layer for entry in stage.image.history)
    if is_empty:
        stage.state = scratch()
    else:
        title = prefixed(stage, f"FROM {stage.stage.base}", {}, platform)
        constraints = Constraints(
            platform=platform,
            description={"com.docker.dockerfile.v1.command": stage.stage.code, "llb.customname": title},
            places=setting.places(stage.stage.location),
        )
        stage.state = image_source(stage.stage.base, constraints, resolve_mode=setting.options.resolve_mode)
        if needed:
            check_base_platform(name, platform, stage.image.platform, stage.stage.location, setting.linter)
    stage.platform = platform


def _load_config(stage: StageState, setting: Setting, name: str, platform: Platform) -> Asking[Platform]:
    """Takes over the image config; pins the base to its digest. Returns the platform to build the stage for."""
    shown = format_platform(platform, full=True) + " " if setting.options.multi_platform else ""
    log_name = f"[{shown}internal] load metadata for {stage.stage.base}"
    try:
        facts = yield from resolve_image(stage.stage.base, platform, setting.options.resolve_mode, log_name)
    except DockerfileError as error:
        raise error.prefixed(name).suggesting(name, [*setting.table.names(), *_common_names()]) from None
    image = image_of(facts)
    stage.base_image = image.copy()
    image.created = ""
    if stage.platform is None and setting.implicit_target:
        platform = _detected(image, platform, setting.options.build_platform)
    reference = reference_of(facts.identifier.removeprefix("docker-image://"))
    if facts.digest:
        reference = reference.with_digest(parse_digest(facts.digest))
    stage.stage.base = str(reference)
    stage.image = image
    return platform


def _common_names() -> list[str]:
    return [n for name in COMMON_IMAGES for n in (name, "docker.io/library" + name, name + ":latest")]


def _detected(image: Image, target: Platform, build: Platform) -> Platform:
    """The image's own platform when the builders have it."""
    same = (build.os, build.architecture) == (image.platform.os, image.platform.architecture)
    return build if same and (target.os, target.architecture) != (build.os, build.architecture) else target


def _read_onbuild(stage: StageState, setting: Setting) -> bool:
    """Puts ONBUILD triggers before the stage's own instructions. True when they need stages not yet resolved."""
    stage.inherit()
    triggers = list(stage.image.config.onbuild)
    if stage.base is not None and not stage.onbuild_read:
        stage.onbuild_read = True
        triggers += [step.command.expression for step in stage.base.steps if isinstance(step.command, Onbuild)]
    if not triggers:
        return False
    try:
        found = _add_triggers(stage, triggers, setting)
    except DockerfileError as error:
        raise error.only_at(stage.stage.location) from None
    stage.image.config.onbuild = []
    return found


def _add_triggers(stage: StageState, triggers: list[str], setting: Setting) -> bool:
    lines = stage.stage.location
    first, last = (min(s.start for s in lines), max(s.end for s in lines)) if lines else (0, 0)
    steps = []
    for trigger in triggers:
        nodes = parse(trigger.encode("utf-8", "surrogateescape")).nodes
        if len(nodes) != 1:
            raise DockerfileError("onbuild trigger should be a single expression")
        node = nodes[0]
        node.start, node.end = first, last
        with located(line_spans(first, last)):
            command = parse_instruction(node, Linter())
            if isinstance(command, Stage):
                raise DockerfileError("*instructions.Stage is not a command type")
        steps.append(add_step(stage, command, setting.table, setting.words, onbuild=True))
    stage.steps = [*steps, *stage.steps]
    stage.command_total += len(steps)
    return any(step.sources for step in steps)
