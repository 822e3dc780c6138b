"""What part of a tree a content hash covers (BuildKit solver/llbsolver/ops/opsutils/contenthash.go Selector)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """One selector. `path` is absolute inside the tree; patterns are relative to it and written as in .dockerignore."""

    path: str = "/"
    wildcard: bool = False
    follow_links: bool = False
    include_patterns: tuple[str, ...] = ()
    exclude_patterns: tuple[str, ...] = ()
    required_paths: tuple[str, ...] = ()

    @property
    def filtered(self) -> bool:
        """True when names below `path` decide, so that the digest of a whole directory can't be used."""
        return self.wildcard or bool(self.include_patterns) or bool(self.exclude_patterns)
