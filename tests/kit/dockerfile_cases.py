"""Golden cases of the Dockerfile frontend: folders with a Dockerfile, an optional options.json, and what else the context holds."""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.frontend.core.build import Frontend, Order
from services.frontend.core.context import Entrypoint
from services.frontend.core.dockerfile.linter import LintWarning
from services.frontend.core.failure import DockerfileError, Location
from services.frontend.core.outcome import Outcome
from services.frontend.core.requests import Tree
from shared.llb import Definition
from shared.model import Platform
from tests.kit.dockerfile_images import fake_images
from tests.kit.fake_bridge import FakeBridge, FakeImage

CASES = Path(__file__).resolve().parents[1] / "golden/dockerfile"
EXPECTED = "expected.json"
SESSION = "a-session"
AMD64 = Platform(os="linux", architecture="amd64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`name` is the folder's; options as given to the frontend."""

    name: str
    folder: Path
    options: Mapping[str, str] = field(default_factory=dict)

    def local_names(self) -> list[str]:
        """The local directories that the case may ask for; all are its folder."""
        named = (value.removeprefix("local:") for key, value in self.options.items() if key.startswith("context:"))
        return ["context", "dockerfile", *(name for name in named if ":" not in name)]

    def files(self) -> dict[str, bytes]:
        """The context: everything but what describes the case."""
        found = (p for p in sorted(self.folder.rglob("*")) if p.is_file() and p.name != EXPECTED)
        return {str(p.relative_to(self.folder)): p.read_bytes() for p in found}


def cases(root: Path = CASES) -> Iterator[Case]:
    for folder in sorted(root.iterdir()):
        options = folder / "options.json"
        if folder.is_dir():
            yield Case(name=folder.name, folder=folder, options=json.loads(options.read_text()) if options.exists() else {})


@dataclass(slots=True, kw_only=True)
class Answer:
    """What our frontend gives: definitions by platform ("" = single; `attestation:<platform>:0` of scans), metadata, warnings.

    Or an error with its places.
    """

    definitions: dict[str, Definition] = field(default_factory=dict)
    metadata: dict[str, bytes] = field(default_factory=dict)
    warnings: list[LintWarning] = field(default_factory=list)
    filename: str = ""
    error: str = ""
    locations: list[Location] = field(default_factory=list)


def answer(case: Case, *, session: str = SESSION, images: Mapping[str, FakeImage] | None = None) -> Answer:
    """Runs our frontend on a case."""
    files = case.files()
    bridge = FakeBridge(locals_=dict.fromkeys(case.local_names(), files), images=fake_images() if images is None else images)
    result = Answer()
    ids = itertools.count()

    def warn(entrypoint: Entrypoint, warning: LintWarning) -> None:
        result.warnings.append(warning)
        result.filename = entrypoint.source_map.filename

    order = Order(options=dict(case.options), session=session, build_platform=AMD64, new_id=lambda: f"id-{next(ids)}", warn=warn)
    try:
        outcome: Outcome = bridge.run(Frontend(order).run())
    except DockerfileError as error:
        result.error, result.locations = error.message, error.locations
        return result
    trees = {"": outcome.tree, **outcome.trees} if outcome.tree is not None else dict(outcome.trees)
    trees |= {f"attestation:{key}:0": tree for key, tree in outcome.bundles.items()}
    result.definitions = {key: _definition(bridge, tree) for key, tree in trees.items() if tree is not None}
    result.metadata = outcome.metadata
    return result


def _definition(bridge: FakeBridge, tree: Tree) -> Definition:
    return bridge.definition(tree) if tree.id else Definition()


def as_golden(found: Answer) -> dict[str, Any]:
    """What is kept in expected.json: digests and names of all operations, metadata, warnings; or the error."""
    if found.error:
        doc: dict[str, Any] = {"error": found.error}
        doc["lines"] = [[[span.start, span.end] for span in location] for location in found.locations]
    else:
        doc = {
            "operations": {
                key: [f"{digest} {d.about(digest).custom_name}".rstrip() for digest in d.data]
                for key, d in sorted(found.definitions.items())
            },
            "metadata": {key: value.decode() for key, value in sorted(found.metadata.items())},
        }
    doc["warnings"] = [[w.short, *([span.start, span.end] for span in w.location)] for w in found.warnings]
    return doc
