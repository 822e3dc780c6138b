"""What all instructions of one conversion share (dockerfile2llb/convert.go dispatchOpt)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from services.frontend.core.dockerfile.linter import Linter
from services.frontend.core.dockerfile.shell_words import WordRules
from services.frontend.core.failure import Location
from services.frontend.core.options import Options
from services.frontend.core.to_llb.stage_state import StageTable
from shared.fsutil import PatternMatcher
from shared.llb import Constraints, Env, Later, Place, ProxyEnv, SourceMap, State
from shared.model import Platform, SourcePosition, SourceRange


@dataclass(slots=True, kw_only=True)
class Setting:
    """`build_args` may be changed by SOURCE_DATE_EPOCH; `epoch` in seconds; `new_id` gives ids that nobody else has."""

    options: Options
    build_args: dict[str, str]
    global_args: Env
    words: WordRules
    shown_words: WordRules  # for names of RUN: as written where nothing is put in
    target_platform: Platform
    implicit_target: bool
    table: StageTable
    linter: Linter
    source_map: SourceMap
    new_id: Callable[[], str]
    context_output: Later
    build_context: State
    proxy_env: ProxyEnv | None = None
    epoch: int | None = None
    ignored: PatternMatcher | None = None

    def places(self, location: Location) -> tuple[Place, ...]:
        """A place in the Dockerfile, for the source map."""
        return (Place(source=self.source_map, ranges=source_ranges(location)),)

    def constraints(self, name: str, location: Location, **more: object) -> Constraints:
        """Constraints of an instruction's vertex."""
        return Constraints(description={"llb.customname": name}, places=self.places(location), **more)  # type: ignore[arg-type]


def source_ranges(location: Location) -> tuple[SourceRange, ...]:
    """Whole lines, as ranges."""
    return tuple([_range(span.start, span.end) for span in location])


@lru_cache(maxsize=4096)
def _range(start: int, end: int) -> SourceRange:
    return SourceRange(start=SourcePosition(line=start), end=SourcePosition(line=end))
