"""What a stage turns out to take: args, secrets, ssh keys (dockerfile2llb/outline.go)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from services.frontend.core.dockerfile.commands import ArgDeclaration
from services.frontend.core.failure import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgInfo:
    """`deps`: names that its default is made of."""

    declaration: ArgDeclaration
    location: Location
    value: str = ""
    deps: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """A secret or ssh key."""

    location: Location
    required: bool


@dataclass(slots=True, kw_only=True)
class OutlineCapture:
    all_args: dict[str, ArgInfo] = field(default_factory=dict)
    used_args: dict[str, None] = field(default_factory=dict)
    secrets: dict[str, Needed] = field(default_factory=dict)
    ssh: dict[str, Needed] = field(default_factory=dict)

    def copy(self) -> "OutlineCapture":
        return OutlineCapture(all_args=dict(self.all_args), used_args=dict(self.used_args), secrets=dict(self.secrets), ssh=dict(self.ssh))

    def use(self, names: Iterable[str]) -> None:
        self.used_args.update(dict.fromkeys(names))

    def use_dependencies(self) -> None:
        """Marks what the used ones depend on as used too."""
        waiting = list(self.used_args)
        seen: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            self.used_args[name] = None
            info = self.all_args.get(name)
            waiting.extend(sorted(info.deps) if info is not None else ())
