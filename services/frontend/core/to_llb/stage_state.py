"""A stage being built, and all stages by name (dockerfile2llb/convert.go dispatchState, dispatchStates)."""

from dataclasses import dataclass, field

from services.frontend.core.dockerfile.commands import ArgDeclaration, Command
from services.frontend.core.dockerfile.stages import Stage
from services.frontend.core.failure import DockerfileError, Location
from services.frontend.core.image import Image
from services.frontend.core.named_context import NamedContext
from services.frontend.core.to_llb.outline_capture import OutlineCapture
from shared.llb import State, clean_path, join_path, scratch
from shared.model import Platform


@dataclass(slots=True, kw_only=True)
class Step:
    """An instruction of a stage; `sources` are the stages that it takes files from, in the order of its mounts."""

    command: Command
    sources: "list[StageState]" = field(default_factory=list)
    onbuild: bool = False


@dataclass(slots=True, kw_only=True)
class Used:
    """Where an instruction that counts once was last seen."""

    location: Location | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class StageState:
    """Compared by identity. `unregistered`: an image that only a COPY --from or a mount names."""

    stage: Stage
    state: State = field(default_factory=scratch)
    image: Image = field(default_factory=Image)
    base_image: Image | None = None
    platform: Platform | None = None
    named_context: NamedContext | None = None
    base: "StageState | None" = None
    deps: "dict[StageState, Step]" = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    build_args: list[ArgDeclaration] = field(default_factory=list)
    context_paths: dict[str, None] = field(default_factory=dict)  # used of the build context
    paths: dict[str, None] = field(default_factory=dict)  # used of this stage; shared with its base
    outline: OutlineCapture = field(default_factory=OutlineCapture)
    shown_name: str = ""
    command_index: int = 0
    command_total: int = 0
    in_onbuild: bool = False
    prefix_platform: bool = False
    ignore_cache: bool = False
    unregistered: bool = False
    dispatched: bool = False
    resolved: bool = False
    onbuild_read: bool = False
    workdir_set: bool = False
    scan_stage: bool = False
    scan_context: bool = False
    cmd: Used = field(default_factory=Used)
    entrypoint: Used = field(default_factory=Used)
    healthcheck: Used = field(default_factory=Used)

    @property
    def os(self) -> str:
        return self.platform.os if self.platform is not None else ""

    def inherit(self) -> None:
        """Takes over what the base stage ended with."""
        base = self.base
        if base is None:
            return
        self.state = base.state
        self.platform = base.platform
        self.image = base.image.copy()
        self.image.config.onbuild = []
        self.base_image = base.base_image
        self.paths = base.paths
        self.workdir_set = base.workdir_set
        self.build_args = [*self.build_args, *base.build_args]

    def follow_paths(self) -> list[str]:
        return follow_paths(self.paths)


def used_path(path: str) -> str:
    """A path of a context or stage, from its root."""
    return join_path("/", path)


def follow_paths(paths: dict[str, None]) -> list[str]:
    """Paths as for `local.followpaths`; none when all is used."""
    if "/" in paths:
        return []
    return sorted(clean_path("./" + path) for path in paths)


MAX_STEPS = 50_000
"""Instructions of all stages with those that ONBUILD adds; a bound of ours."""


class StageTable:
    """All stages in order; named ones by name in lower case, the last of a name winning."""

    def __init__(self) -> None:
        self.stages: list[StageState] = []
        self.scratch: StageState | None = None  # what mounts without a source take
        self._steps = 0
        self._by_name: dict[str, StageState] = {}

    def add(self, stage: StageState) -> None:
        """Registers; a stage whose base is a stage before it gets that as base."""
        self.stages.append(stage)
        base = self._by_name.get(stage.stage.base)
        if base is not None:
            stage.base = base
            stage.outline = base.outline.copy()
        if stage.stage.name:
            self._by_name[stage.stage.name.lower()] = stage

    def count_step(self) -> None:
        """Raises DockerfileError when there are too many."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise DockerfileError(f"more than {MAX_STEPS} instructions in all stages together")

    def by_name(self, name: str) -> StageState | None:
        return self._by_name.get(name.lower())

    def by_index(self, index: int) -> StageState:
        if not 0 <= index < len(self.stages):
            raise DockerfileError(f"invalid stage index {index}")
        return self.stages[index]

    def names(self) -> list[str]:
        return [s.shown_name for s in self.stages if s.shown_name]

    def check_cycles(self) -> None:
        """Raises DockerfileError, located at the instructions of the circle."""
        visited: set[StageState] = set()
        for stage in self.stages:
            circle = _find_circle(stage, visited)
            if circle is not None:
                error = DockerfileError(f"circular dependency detected on stage: {stage.shown_name}")
                for step in circle:
                    error.at(step.command.location)
                raise error


def _find_circle(root: StageState, visited: set[StageState]) -> list[Step] | None:
    """The instructions that lead from `root` into a circle. Iterative: chains of stages may be long."""
    if root in visited:
        return None
    visited.add(root)
    path: list[tuple[StageState, list[tuple[StageState, Step]]]] = [(root, list(root.deps.items()))]
    on_path = {root}
    steps: list[Step] = []
    while path:
        stage, waiting = path[-1]
        if not waiting:
            path.pop()
            on_path.discard(stage)
            if steps:
                steps.pop()
            continue
        dep, step = waiting.pop(0)
        if dep in on_path:
            return [*steps, step]
        if dep not in visited:
            visited.add(dep)
            on_path.add(dep)
            steps.append(step)
            path.append((dep, list(dep.deps.items())))
    return None


def reachable(target: StageState) -> dict[StageState, None]:
    """The target and all stages that it needs."""
    found: dict[StageState, None] = {}
    stack = [target]
    while stack:
        stage = stack.pop()
        if stage in found:
            continue
        found[stage] = None
        stack.extend(reversed(stage.deps))
        if stage.base is not None:
            stack.append(stage.base)
    return found
