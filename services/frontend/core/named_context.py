"""Named contexts: `context:NAME` options that replace stages and images (frontend/dockerui/namedcontext.go)."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.frontend.core.context import Contexts
from services.frontend.core.failure import DockerfileError
from services.frontend.core.git_url import git_context
from services.frontend.core.ignore_file import parse_ignore_file
from services.frontend.core.image import Image, parse_image
from services.frontend.core.requests import Asking, Once, ReadFile, ResolveSource, Solve, SourceFacts, Tree
from shared.llb import (
    Constraints,
    Later,
    SourceOp,
    State,
    definition_state,
    http_source,
    image_source,
    local_source,
    marshal,
    new_state,
    oci_layout_source,
    scratch,
)
from shared.llb.go_text import quote
from shared.model import Platform, format_platform
from shared.oci import Reference, parse_reference

_MAX_REWRITES = 10
_IGNORE_FILE = ".dockerignore"

PathsOf = Callable[[], Sequence[str]]


@dataclass(slots=True, kw_only=True)
class NamedContext:
    """A context found under `key` (`name` or `name::platform`). `paths` tells, when the graph is marshaled, which paths are used."""

    contexts: Contexts
    name: str
    key: str
    value: str
    platform: Platform | None
    paths: PathsOf

    def load(self) -> Asking[tuple[State, Image | None]]:
        """Its tree, and the image config when it is an image."""
        value = self.value
        for _ in range(_MAX_REWRITES + 1):
            kind, found, rest = value.partition(":")
            if not found:
                raise DockerfileError(f"invalid context specifier {value} for {self.key}")
            if kind != "docker-image":
                return (yield from self._load_other(kind, rest, value))
            loaded = yield from self._docker_image(rest.removeprefix("//"))
            if not isinstance(loaded, str):
                return loaded
            value = loaded
        raise DockerfileError("context recursion limit exceeded; this may indicate a cycle in the provided source policies: " + value)

    def _load_other(self, kind: str, rest: str, value: str) -> Asking[tuple[State, Image | None]]:
        if kind.startswith("git@"):
            kind = "git"
        match kind:
            case "git":
                state = git_context(value)
                if state is None:
                    raise DockerfileError(f"invalid git context {value}")
                return state, None
            case "http" | "https":
                constraints = Constraints(description={"llb.customname": f"[context {self.key}] {value}"})
                return git_context(value) or http_source(value, constraints, filename="context"), None
            case "oci-layout":
                return (yield from self._oci_layout(rest.removeprefix("//")))
            case "local":
                return (yield from self._local(rest)), None
            case "input":
                return (yield from self._input(rest))
        raise DockerfileError(f"unsupported context source {kind} for {self.key}")

    def _docker_image(self, text: str) -> Asking[tuple[State, Image | None] | str]:
        """A str is the value that a source policy puts in its place."""
        if text == "scratch":
            return scratch(), None
        reference = reference_of(text).with_default_tag()
        resolve_mode = self.contexts.options.resolve_mode
        log_name = f"[context {self.key}] load metadata for {text}"
        facts = yield from resolve_image(str(reference), self.platform, resolve_mode, log_name)
        if facts.config is None:
            scheme, found, rest = facts.identifier.partition("://")
            if not found:
                raise DockerfileError(f"could not parse ref: {facts.identifier}")
            return facts.identifier if scheme in ("git", "http", "https") else f"{scheme}:{rest}"
        image = image_of(facts)
        constraints = Constraints(platform=self.platform, description={"llb.customname": f"[context {self.key}] {text}"})
        resolved = reference_of(facts.identifier.removeprefix("docker-image://")).with_default_tag()
        return with_image(image_source(str(resolved), constraints), image), _undated(image)

    def _oci_layout(self, text: str) -> Asking[tuple[State, Image | None]]:
        store, found, digest = text.rpartition("@")
        if not found:
            raise DockerfileError(f"oci-layout reference {quote(text)} has no digest")
        reference = reference_of(f"{reference_of(self.name).name}@{digest}")
        store = store.rpartition(":")[0] if ":" in store.rpartition("/")[2] else store
        session = self.contexts.options.session
        log_name = f"[context {self.key}] load metadata for {reference}"
        attrs = {k: v for k, v in (("oci.session", session), ("oci.store", store)) if v}
        facts = yield from _resolve(SourceOp(identifier=f"oci-layout://{reference}", attrs=attrs), self.platform, "", log_name)
        image = image_of(facts)
        constraints = Constraints(platform=self.platform, description={"llb.customname": f"[context {self.key}] OCI load from client"})
        return with_image(oci_layout_source(str(reference), constraints, session=session, store=store), image), image

    def _local(self, local: str) -> Asking[State]:
        options = self.contexts.options
        session = options.session_of(local)
        state = local_source(
            local,
            Constraints(description={"llb.customname": f"[context {self.key}] load {_IGNORE_FILE}"}),
            session=session,
            follow_paths=[_IGNORE_FILE],
            shared_key_hint=f"context:{self.key}-{_IGNORE_FILE}",
            differ_none=True,
        )
        tree: Tree = yield Solve(definition=marshal(state, self.contexts.defaults), evaluate=True)
        try:
            data: bytes = yield ReadFile(tree=tree, path=_IGNORE_FILE)
        except DockerfileError:
            data = b""
        excludes = parse_ignore_file(data)
        hint = f"context:{self.key}-" + options.raw.get(f"sharedkey:localdir:{self.key}", "")

        def find() -> "State":
            return local_source(
                local,
                Constraints(description={"llb.customname": f"[context {self.key}] load from client"}),
                session=session,
                follow_paths=self.paths(),
                exclude_patterns=excludes,
                shared_key_hint=hint,
            )

        return new_state(Later(lambda: find().output))

    def _input(self, name: str) -> Asking[tuple[State, Image | None]]:
        inputs = yield from self.contexts.inputs()
        if name not in inputs:
            raise DockerfileError(f"invalid input {name} for {self.key}")
        state = definition_state(inputs[name])
        metadata = self.contexts.options.raw.get(f"input-metadata:{name}")
        if metadata is None:
            return state, None
        try:
            config = base64.b64decode(json.loads(metadata).get("containerimage.config") or "", validate=True)
        except (ValueError, AttributeError, TypeError) as error:
            raise DockerfileError(f"failed to parse input metadata {metadata}: {error}") from None
        if not config:
            return state, None
        try:
            image = parse_image(config)
        except ValueError as error:
            raise DockerfileError(f"failed to parse image config for {self.key}: {error}") from None
        return with_image(state, image), image


def find_named(contexts: Contexts, name: str, platform: Platform | None, paths: PathsOf) -> NamedContext | None:
    """The context that stands for `name`, for this platform first."""
    try:
        reference = reference_of(name)
    except DockerfileError as error:
        raise error.prefixed(f"invalid context name {name}") from None
    familiar = familiar_name(reference).removesuffix(":latest")
    shown = format_platform((platform or contexts.options.build_platform).normalized(), full=True)
    for key in (f"{familiar}::{shown}", familiar):
        value = contexts.options.raw.get(f"context:{key}")
        if value is not None:
            return NamedContext(contexts=contexts, name=familiar, key=key, value=value, platform=platform, paths=paths)
    return None


def familiar_name(reference: Reference) -> str:
    """As people write it, tag and digest included."""
    tag = f":{reference.tag}" if reference.tag else ""
    digest = f"@{reference.digest}" if reference.digest else ""
    return reference.familiar_name + tag + digest


def reference_of(text: str) -> Reference:
    """Raises DockerfileError with the words of distribution/reference."""
    try:
        return parse_reference(text)
    except ValueError as error:
        plain = "invalid reference format"
        named = str(error).startswith(f"{plain}: repository name")
        raise DockerfileError(plain if str(error).startswith(plain) and not named else str(error)) from None


def resolve_image(reference: str, platform: Platform | None, mode: str, log_name: str) -> Asking[SourceFacts]:
    """Facts about an image in a registry; asked once for all platforms and stages that want the same."""
    source = SourceOp(identifier=f"docker-image://{reference}")
    return (yield from _resolve(source, platform, mode or "default", log_name))


def _resolve(source: SourceOp, platform: Platform | None, mode: str, log_name: str) -> Asking[SourceFacts]:
    key = (source.identifier, tuple(source.attrs.items()), platform, mode, log_name)
    facts: SourceFacts = yield Once(key, _ask(source, platform, mode, log_name))
    return facts


def _ask(source: SourceOp, platform: Platform | None, mode: str, log_name: str) -> Asking[SourceFacts]:
    try:
        facts: SourceFacts = yield ResolveSource(source=source, log_name=log_name, platform=platform, resolve_mode=mode)
    except DockerfileError as error:
        name = source.identifier.partition("://")[2]
        raise error.prefixed(f"failed to resolve source metadata for {name}") from None
    return facts


def image_of(facts: SourceFacts) -> Image:
    """The image config. Raises DockerfileError when there is none, or it can't be read."""
    if facts.config is None:
        raise DockerfileError(f"ref is not an image: {facts.identifier}")
    try:
        return parse_image(facts.config)
    except ValueError as error:
        raise DockerfileError(f"failed to parse image config: {error}") from None


def _undated(image: Image) -> Image:
    image.created = ""
    return image


def with_image(state: State, image: Image) -> State:
    """The environment, directory and platform of an image (client/llb/state.go WithImageConfig)."""
    for variable in image.config.env:
        key, _, value = variable.partition("=")
        if key:
            state = state.with_env(key, value)
    state = state.with_directory(image.config.working_dir)
    if image.platform.architecture and image.platform.os:
        state = state.with_platform(image.platform)
    return state
