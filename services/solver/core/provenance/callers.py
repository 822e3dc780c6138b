"""Who asked what in a build: the client and the frontends, each with its solves (llbsolver/provenance.go, provenance_store.go).

A result belongs to the innermost caller that has it; what else that caller and those below it had solved counts for its provenance.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from services.solver.core.provenance.request import Asked, asked
from services.solver.core.provenance.sources import ImageSource, Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A frontend that was asked for, with options and inputs (`name → digest of the input's last op`)."""

    frontend: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def says_something(self) -> bool:
        return bool(self.frontend or self.options or self.inputs)


class Producers:
    """Which requests made the definitions that are around, by the digest of their last op. Shared by the builds of a process."""

    def __init__(self) -> None:
        self._known: dict[str, dict[int, Asked]] = {}
        self._next = 0

    def add(self, head: str, request: Asked) -> tuple[str, int]:
        """Remembered until `forget` is given the answer."""
        self._next += 1
        self._known.setdefault(head, {})[self._next] = replace(request, root=None)
        return head, self._next

    def forget(self, entry: tuple[str, int]) -> None:
        head, number = entry
        known = self._known.get(head, {})
        known.pop(number, None)
        if not known:
            self._known.pop(head, None)

    def of(self, head: str) -> Asked | None:
        """The request, when all that made this definition were equal."""
        found = list(self._known.get(head, {}).values())
        return found[0] if found and all(other == found[0] for other in found) else None


@dataclass(slots=True, kw_only=True, eq=False)
class Caller:
    """The client (`request` None) or one run of a frontend. `root`: the build's own request; `handles`: ids of results, in order."""

    id: str = ""
    request: Request | None = None
    root: Request | None = None
    depth: int = 0
    images: list[ImageSource] = field(default_factory=list)
    handles: list[str] = field(default_factory=list)
    below: list["Caller"] = field(default_factory=list)

    def frontend(self, id: str, request: Request) -> "Caller":
        """A caller that this one starts; it counts once it is put into `below`."""
        root = self.root if self.root is not None and self.root.says_something else self.request
        return Caller(id=id, request=request, root=root, depth=self.depth + 1)

    def owner(self, handle: str) -> "Caller | None":
        """The innermost one that has the result."""
        for caller in self.below:
            if (found := caller.owner(handle)) is not None:
                return found
        return self if handle in self.handles else None

    def all_handles(self) -> Iterator[str]:
        yield from self.handles
        for caller in self.below:
            yield from caller.all_handles()

    def all_images(self) -> Iterator[ImageSource]:
        yield from self.images
        for caller in self.below:
            yield from caller.all_images()

    def asked(self, sources: Sources, producers: Producers) -> Asked:
        """The request as provenance shows it; an empty one for the client's own solves."""
        if self.request is None:
            return Asked()
        own = _shown(self.request, sources, producers)
        root = _shown(self.root, sources, producers) if self.root is not None and self.root.says_something else None
        if root is None or root == own or not (root.frontend or root.args or root.inputs):
            return own
        return replace(own, root=root)


def _shown(request: Request, sources: Sources, producers: Producers) -> Asked:
    made = {name: producers.of(head) for name, head in request.inputs.items()}
    return replace(
        asked(request.frontend, request.options, sources), inputs={name: found for name, found in made.items() if found is not None}
    )
