"""What a frontend may ask of the build that it works for, in its own words."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.frontend.core.context import Entrypoint
from services.frontend.core.dockerfile.linter import LintWarning
from services.frontend.core.requests import Forward, ReadFile, ResolveSource, RunImage, Solve, SourceFacts, Tree
from shared.llb import Definition


class Build(Protocol):
    """One build, reached over its bridge. All raise errors of shared.errors; asking twice gives equal answers."""

    async def solve(self, request: Solve) -> Tree:
        """A handle of the tree that a definition describes; nothing runs before it is read, unless the request says so."""
        ...

    async def read_file(self, request: ReadFile) -> bytes:
        """Content of a regular file. Raises NotFound-like errors with the text of the system (`open x: no such file or directory`)."""
        ...

    async def resolve_source(self, request: ResolveSource) -> SourceFacts:
        """What a source is right now: digest and config of an image, commit of a repository."""
        ...

    def inputs(self) -> Mapping[str, Definition]:
        """Definitions that the caller handed to the frontend. Raises InvalidInput for malformed ones."""
        ...

    async def forward(self, request: Forward) -> object:
        """What another frontend gives for the same inputs; only handed on."""
        ...

    async def run_image(self, request: RunImage) -> object:
        """What a frontend gives that runs as a container; only handed on."""
        ...

    async def warn(self, entrypoint: Entrypoint, warnings: Sequence[LintWarning]) -> None:
        """Shows lint warnings on the vertex that loaded the Dockerfile. Never fails the build."""
        ...
