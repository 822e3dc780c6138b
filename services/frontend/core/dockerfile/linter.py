"""Which warnings are given: `# check=` of the file, of the options, and of comments above an instruction (linter/linter.go)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from services.frontend.core.dockerfile.directives import DirectiveReader
from services.frontend.core.dockerfile.rules import Rule
from services.frontend.core.failure import DockerfileError, Location
from services.frontend.core.go_text import SPACE
from shared.llb.go_text import parse_bool, quote


@dataclass(frozen=True, slots=True, kw_only=True)
class LintOptions:
    """`skip=A,B|all; experimental=A,B|all; error=true`."""

    skip: frozenset[str] = frozenset()
    skip_all: bool = False
    experimental: frozenset[str] = frozenset()
    experimental_all: bool = False
    error: bool = False


def parse_lint_options(text: str) -> LintOptions:
    """Raises DockerfileError for an option that does not exist."""
    options = LintOptions()
    text = text.strip(SPACE)
    for part in text.split(";", 2) if text else ():
        key, found, value = part.partition("=")
        key, value = key.strip(SPACE), value.strip(SPACE)
        if not found:
            raise DockerfileError(f"invalid check option {quote(part)}")
        names = frozenset(v.strip(SPACE) for v in value.split(","))
        match key:
            case "skip":
                options = replace(options, skip_all=True) if value == "all" else replace(options, skip=names)
            case "experimental":
                options = replace(options, experimental_all=True) if value == "all" else replace(options, experimental=names)
            case "error":
                flag = parse_bool(value)
                if flag is None:
                    cause = f"strconv.ParseBool: parsing {quote(value)}: invalid syntax"
                    raise DockerfileError(f"failed to parse check option {quote(part)}: {cause}")
                options = replace(options, error=flag)
            case _:
                raise DockerfileError(f"invalid check option {quote(key)}")
    return options


@dataclass(frozen=True, slots=True, kw_only=True)
class LintWarning:
    """One finding."""

    rule: Rule
    message: str
    location: Location

    @property
    def short(self) -> str:
        """`Rule: message (line N)`, as shown by clients."""
        line = self.location[0].start if self.location else 0
        return f"{self.rule.name}: {self.message}" + (f" (line {line})" if line > 0 else "")


WarnFunction = Callable[[LintWarning], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linter:
    """Gives warnings to `warn`; None = nobody listens, and nothing counts as a violation."""

    options: LintOptions = LintOptions()
    warn: WarnFunction | None = None
    called: dict[str, None] = field(default_factory=dict)

    def run(self, rule: Rule, location: Location, message: str) -> None:
        """Reports, unless the rule is skipped."""
        options = self.options
        if self.warn is None:
            return
        if rule.experimental:
            if not options.experimental_all and rule.name not in options.experimental:
                return
        elif options.skip_all or rule.name in options.skip:
            return
        self.called[rule.name] = None
        self.warn(LintWarning(rule=rule, message=message, location=location))

    def for_comments(self, comments: Sequence[str] | None) -> "Linter":
        """This linter, with the first `check=` among the comments above an instruction merged in."""
        if not comments or self.warn is None:
            return self
        for comment in comments:
            directive = DirectiveReader(comment="").read(comment)
            if directive is None or directive.name != "check":
                continue
            try:
                extra = parse_lint_options(directive.value.partition(" ")[0])
            except DockerfileError:
                return self
            return replace(self, options=_merged(self.options, extra))
        return self

    def check(self) -> None:
        """Raises DockerfileError when warnings are errors and there were some."""
        if self.options.error and self.called:
            raise DockerfileError("lint violation found for rules: " + ", ".join(self.called))


def _merged(base: LintOptions, extra: LintOptions) -> LintOptions:
    return replace(
        base,
        skip=base.skip | extra.skip,
        skip_all=base.skip_all or extra.skip_all,
        experimental=base.experimental | extra.experimental,
        experimental_all=base.experimental_all or extra.experimental_all,
    )
