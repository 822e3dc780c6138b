"""What a run of a frontend gives."""

from dataclasses import dataclass, field

from services.frontend.core.requests import Tree


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The result: `tree` (one platform) or `trees` by platform; neither for subrequests. `given`: all of it, from another frontend.

    `bundles`: SBOMs by platform, as directories of statements.
    """

    given: object = None
    bundles: dict[str, Tree] = field(default_factory=dict)
    tree: Tree | None = None
    trees: dict[str, Tree] = field(default_factory=dict)
    metadata: dict[str, bytes] = field(default_factory=dict)
