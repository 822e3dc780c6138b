"""By which request a result came about: the frontend, its options, the requests that made its inputs (provenance/predicate.go)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from services.solver.core.provenance.sources import Sources, redacted
from shared.llb.git_url import git_material

Json = dict[str, Any]

_OF_THE_HOST = frozenset(("cgroup-parent", "image-resolve-mode", "platform", "cache-imports"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSource:
    """Where the build's own files came from: `uri` with its digest, and the name of the Dockerfile."""

    uri: str = ""
    digest: Mapping[str, str] = field(default_factory=dict)
    path: str = ""

    def to_json(self, *, path_key: str = "path") -> Json:
        pairs = {"uri": self.uri, "digest": dict(self.digest), path_key: self.path}
        return {key: value for key, value in pairs.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request: frontend and options; `inputs` by name: what made the definitions that were handed in; `root`: the build's own request."""

    source: ConfigSource = ConfigSource()
    frontend: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, "Asked"] = field(default_factory=dict)
    root: "Asked | None" = None

    def scrubbed(self) -> "tuple[Asked, bool]":
        """Without build arguments and labels, and whether any had to go."""
        kept = {k: v for k, v in self.args.items() if not k.startswith(("build-arg:", "label:"))}
        inputs = {name: asked.scrubbed() for name, asked in self.inputs.items()}
        root = self.root.scrubbed() if self.root is not None else (None, False)
        gone = len(kept) < len(self.args) or root[1] or any(lost for _, lost in inputs.values())
        return replace(self, args=kept, inputs={name: asked for name, (asked, _) in inputs.items()}, root=root[0]), gone

    def to_json(self) -> Json:
        """As an input or root of another request."""
        return {"configSource": self.source.to_json(), "request": self.request_json()}

    def request_json(self, **more: Any) -> Json:
        """Fields in the order of Go's struct; `more` are those between `args` and `inputs`."""
        pairs = {
            "frontend": self.frontend,
            "args": dict(sorted(self.args.items())),
            **more,
            "inputs": {name: asked.to_json() for name, asked in sorted(self.inputs.items())},
            "root": self.root.to_json() if self.root is not None else None,
        }
        return {key: value for key, value in pairs.items() if value}


def shown_args(options: Mapping[str, str]) -> dict[str, str]:
    """Options without those of the host and of attestations; URLs of contexts and of the repository without credentials."""
    context = options.get("contextkey") or "context"
    return {
        key: redacted(value) if key in (context, "vcs:source") or key.startswith("context:") else value
        for key, value in options.items()
        if key not in _OF_THE_HOST and not key.startswith("attest:")
    }


def asked(frontend: str, options: Mapping[str, str], sources: Sources) -> Asked:
    """A request as it is shown: the context and the file name become the config source."""
    args = shown_args(options)
    key = args.get("contextkey") or ("input:context" if args.get("input:context") else "context")
    source = ConfigSource()
    if args.get(key):
        source = _config_source(args.pop(key), sources)
    if args.get("filename"):
        source = replace(source, path=args.pop("filename"))
    return Asked(source=source, frontend=frontend, args=args)


def _config_source(uri: str, sources: Sources) -> ConfigSource:
    """With the commit or digest that it was resolved to, as far as it is one of the sources."""
    shown, is_git = git_material(uri, subdir=True)
    plain = git_material(uri, subdir=False)[0]
    if is_git and plain in sources.git:
        return ConfigSource(uri=redacted(shown), digest=commit_digest(sources.git[plain]))
    if plain in sources.http:
        return ConfigSource(uri=redacted(plain), digest=digest_set(sources.http[plain]))
    return ConfigSource(uri=redacted(uri))


def commit_digest(commit: str) -> dict[str, str]:
    return {"sha256" if len(commit) == 64 else "sha1": commit}


def digest_set(digest: str) -> dict[str, str]:
    """`sha256:abc` as {"sha256": "abc"}."""
    algorithm, _, value = digest.partition(":")
    return {algorithm: value} if value else {}
