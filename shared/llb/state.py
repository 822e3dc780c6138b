"""A file tree being described, with the environment of the processes that will run in it (client/llb/state.go)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.llb import ops
from shared.llb.exec_vertex import ExecVertex, RunOptions
from shared.llb.paths import is_absolute, join_path
from shared.llb.state_values import Env, Process, env_with
from shared.llb.vertices import AnyOutput, Constraints, FileStep, FileVertex, MergeVertex, Output
from shared.model import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Immutable. `output` None = an empty tree."""

    output: AnyOutput | None = None
    process: Process = field(default_factory=Process)

    @property
    def env(self) -> Env:
        return self.process.env

    @property
    def directory(self) -> str:
        return self.process.directory

    @property
    def platform(self) -> Platform | None:
        return self.process.platform

    def with_output(self, output: AnyOutput | None) -> "State":
        """Another tree, the same environment; the platform of the tree when it has one."""
        platform = output.platform if output is not None else None
        process = self.process if platform is None else self.process.changed(platform=platform.normalized())
        return State(output=output, process=process)

    def with_env(self, key: str, value: str) -> "State":
        return self._with(env=env_with(self.process.env, key, value))

    def with_directory(self, path: str) -> "State":
        """Relative paths are below the present directory."""
        return self._with(directory=path if is_absolute(path) else join_path(self.directory or "/", path))

    def with_user(self, user: str) -> "State":
        return self._with(user=user)

    def with_hostname(self, hostname: str) -> "State":
        return self._with(hostname=hostname)

    def with_platform(self, platform: Platform) -> "State":
        return self._with(platform=platform.normalized())

    def with_network(self, network: ops.NetMode) -> "State":
        return self._with(network=network)

    def _with(self, **changes: object) -> "State":
        return State(output=self.output, process=self.process.changed(**changes))

    def run(self, process: Process, options: RunOptions, constraints: Constraints) -> "State":
        """The tree after a process ran in it. What `process` says holds for this run only."""
        vertex = ExecVertex(self.output, process, options, constraints)
        return self.with_output(Output(vertex, lambda: vertex.index_of(vertex.root), constraints.platform))

    def file(self, steps: Sequence[FileStep], constraints: Constraints) -> "State":
        """The tree after these actions."""
        return self.with_output(Output(FileVertex(self.output, self.directory, steps, constraints)))


def scratch() -> State:
    """An empty tree."""
    return State()


def new_state(output: AnyOutput | None) -> State:
    """A tree with a fresh environment, in /."""
    return State().with_output(output)


def merge(states: Sequence[State], constraints: Constraints) -> State:
    """Layers of several trees, later ones above; empty ones don't count."""
    full = [s for s in states if s.output is not None]
    if not full:
        return scratch()
    if len(full) == 1:
        return full[0]
    outputs = [s.output for s in full if s.output is not None]
    return full[0].with_output(Output(MergeVertex(outputs, constraints)))
