"""The instructions as values (instructions/commands.go). Variables in them are not yet expanded; `expanded` gives a copy that is."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypedDict, TypeVar

from services.frontend.core.dockerfile.mounts import Mount, parse_mount
from services.frontend.core.failure import Location

Expander = Callable[[str], str]


class Common(TypedDict):
    """The fields of Command, as arguments."""

    code: str
    name: str
    location: Location
    comments: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What every instruction has: its text, its keyword as written, its lines and the comments above it."""

    code: str
    name: str
    location: Location
    comments: tuple[str, ...] | None = None

    def expanded(self, expand: Expander) -> "Command":
        """A copy with variables put in; the same object where nothing is expanded."""
        return self


_C = TypeVar("_C", bound=Command)


def _changed(command: _C, **fields: object) -> _C:
    """The command with these fields; itself when they are what it has: most instructions hold no variables."""
    for name, value in fields.items():
        if getattr(command, name) != value:
            return replace(command, **fields)  # type: ignore[arg-type]
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """`key=value`; `legacy`: written with a space in between."""

    key: str
    value: str
    legacy: bool = False

    def __str__(self) -> str:
        return f"{self.key}={self.value}"

    def expanded(self, expand: Expander) -> "Pair":
        return Pair(key=expand(self.key), value=expand(self.value), legacy=self.legacy)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgDeclaration:
    """One name of an ARG, its default (None = none), its description from the comment above."""

    key: str
    value: str | None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineSource:
    """A heredoc used as a source file."""

    path: str
    data: str
    expand: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineFile:
    """A heredoc of a RUN."""

    name: str
    data: str
    chomp: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """Durations in nanoseconds; 0 = not given."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    name: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Command):
    pairs: tuple[Pair, ...]

    def expanded(self, expand: Expander) -> "Env":
        return _changed(self, pairs=tuple([p.expanded(expand) for p in self.pairs]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Command):
    pairs: tuple[Pair, ...]

    def expanded(self, expand: Expander) -> "Label":
        return _changed(self, pairs=tuple([p.expanded(expand) for p in self.pairs]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Command):
    maintainer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Command):
    """What ADD and COPY share."""

    sources: tuple[str, ...]
    contents: tuple[InlineSource, ...]
    dest: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    excludes: tuple[str, ...] = ()

    def with_contents(self, expand: Expander) -> "Transfer":
        """A copy with variables put into the heredocs that want it."""
        return replace(self, contents=tuple(replace(c, data=expand(c.data)) if c.expand else c for c in self.contents))


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Transfer):
    keep_git_dir: bool | None = None
    checksum: str = ""
    unpack: bool | None = None

    def expanded(self, expand: Expander) -> "Add":
        chown, chmod, checksum = expand(self.chown), expand(self.chmod), expand(self.checksum)
        sources = tuple([expand(s) for s in self.sources])
        return _changed(self, chown=chown, chmod=chmod, checksum=checksum, sources=sources, dest=expand(self.dest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Transfer):
    source_stage: str = ""  # --from
    parents: bool = False

    def expanded(self, expand: Expander) -> "Copy":
        chown, chmod = expand(self.chown), expand(self.chmod)
        sources = tuple([expand(s) for s in self.sources])
        return _changed(self, chown=chown, chmod=chmod, sources=sources, dest=expand(self.dest))


@dataclass(frozen=True, slots=True, kw_only=True)
class Onbuild(Command):
    expression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Command):
    path: str

    def expanded(self, expand: Expander) -> "Workdir":
        return _changed(self, path=expand(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellDependent(Command):
    """RUN, CMD, ENTRYPOINT: an argument list, or (`shell_form`) one text for the shell."""

    args: tuple[str, ...]
    files: tuple[InlineFile, ...]
    shell_form: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(ShellDependent):
    mount_flags: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    devices: tuple[Device, ...] = ()

    def expanded(self, expand: Expander) -> "Run":
        return _changed(self, mounts=tuple([parse_mount(flag, expand) for flag in self.mount_flags]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(ShellDependent):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(ShellDependent):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthcheckCommand(Command):
    health: Healthcheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Command):
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Command):
    user: str

    def expanded(self, expand: Expander) -> "User":
        return _changed(self, user=expand(self.user))


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Command):
    volumes: tuple[str, ...]

    def expanded(self, expand: Expander) -> "Volume":
        return _changed(self, volumes=tuple([expand(v) for v in self.volumes]))


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal(Command):
    signal: str

    def expanded(self, expand: Expander) -> "StopSignal":
        return _changed(self, signal=expand(self.signal))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Command):
    declarations: tuple[ArgDeclaration, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Command):
    shell: tuple[str, ...]
