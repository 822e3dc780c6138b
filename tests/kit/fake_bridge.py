"""A build that the pure frontend can be run against: local directories and images in memory, nothing solved.

Solve only takes note of the definition; ReadFile finds the file in the local directory (or input) that the definition loads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.frontend.core.failure import DockerfileError
from services.frontend.core.requests import Asking, Forward, Inputs, Once, ReadFile, ResolveSource, Solve, SourceFacts, Together, Tree
from shared.llb import Definition, FileOp, MkFile, SourceOp, decode_op
from shared.model import Digest, Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeImage:
    """`configs` by platform text (`linux/amd64`); "" serves any platform."""

    digest: str
    configs: Mapping[str, bytes]

    def config(self, platform: Platform | None) -> bytes | None:
        wanted = "/".join(p for p in (platform.os, platform.architecture, platform.variant) if p) if platform else "linux/amd64"
        return self.configs.get(wanted, self.configs.get(""))


@dataclass(slots=True, kw_only=True)
class FakeBridge:
    """`locals_` by name: path → content. `images` by normalized reference. `answers` overrides facts by source identifier."""

    locals_: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    images: Mapping[str, FakeImage] = field(default_factory=dict)
    inputs: Mapping[str, Definition] = field(default_factory=dict)
    answers: Mapping[str, SourceFacts] = field(default_factory=dict)
    solved: list[Solve] = field(default_factory=list)
    asked: list[object] = field(default_factory=list)
    _once: dict[Any, Any] = field(default_factory=dict)

    def run(self, asking: Asking[Any]) -> Any:
        """Drives a computation to its end, answering what it asks."""
        answer: Any = None
        error: DockerfileError | None = None
        while True:
            try:
                request = asking.throw(error) if error is not None else asking.send(answer)
            except StopIteration as end:
                return end.value
            answer, error = None, None
            try:
                answer = self._answer(request)
            except DockerfileError as e:
                error = e

    def _answer(self, request: Any) -> Any:
        self.asked.append(request)
        match request:
            case Together(asks=asks):
                return [self.run(ask) for ask in asks]
            case Once(key=key, ask=ask):
                if key not in self._once:
                    self._once[key] = self.run(ask)
                else:
                    ask.close()
                return self._once[key]
            case Solve():
                self.solved.append(request)
                return Tree(id=f"tree-{len(self.solved)}" if request.definition.data else "")
            case ReadFile():
                return self._read(request)
            case ResolveSource():
                return self._resolve(request)
            case Inputs():
                return dict(self.inputs)
            case Forward(options=options):
                raise DockerfileError(f"{options.get('source', '')}: not found")  # nobody has another frontend
        raise AssertionError(f"unknown request {request!r}")

    def definition(self, tree: Tree) -> Definition:
        """What a tree was solved from."""
        return self.solved[int(tree.id.removeprefix("tree-")) - 1].definition

    def _read(self, request: ReadFile) -> bytes:
        for data in self.definition(request.tree).data.values():
            kind = decode_op(data).kind
            files: Mapping[str, bytes] = {}
            if isinstance(kind, SourceOp) and kind.scheme == "local":
                files = self.locals_.get(kind.identifier.removeprefix("local://"), {})
            elif isinstance(kind, SourceOp):
                files = self.locals_.get(kind.identifier, {})
            elif isinstance(kind, FileOp):
                files = {a.action.path.lstrip("/"): a.action.data for a in kind.actions if isinstance(a.action, MkFile)}
            if request.path.lstrip("/") in files:
                content = files[request.path.lstrip("/")]
                return content[: request.length] if request.length else content
        raise DockerfileError(f"open {request.path}: no such file or directory")

    def _resolve(self, request: ResolveSource) -> SourceFacts:
        identifier = request.source.identifier
        if identifier in self.answers:
            return self.answers[identifier]
        image = self.images.get(identifier.partition("://")[2].partition("@")[0])
        config = image.config(request.platform) if image is not None else None
        if image is None:
            raise DockerfileError(f"{identifier.partition('://')[2]}: not found")
        if config is None:
            raise DockerfileError("no match for platform in manifest: not found")
        return SourceFacts(identifier=identifier, digest=Digest(image.digest), config=config)
