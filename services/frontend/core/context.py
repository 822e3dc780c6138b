"""The build context and the Dockerfile: local, git, http, or handed over as input (frontend/dockerui/config.go, context.go)."""

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.frontend.core.dockerfile.parser import MAX_SIZE
from services.frontend.core.failure import DockerfileError
from services.frontend.core.git_url import git_context
from services.frontend.core.ignore_file import parse_ignore_file
from services.frontend.core.options import Options
from services.frontend.core.requests import Asking, Inputs, Once, ReadFile, Solve, Tree
from shared.llb import (
    Constraints,
    Copy,
    Definition,
    FileStep,
    MarshalDefaults,
    SourceMap,
    State,
    base_path,
    definition_state,
    encode_definition,
    http_source,
    join_path,
    local_source,
    marshal,
    parent_path,
    scratch,
)
from shared.llb.go_text import parse_bool
from shared.model import Digest

CONTEXT = "context"
DOCKERFILE = "dockerfile"
_IGNORE_FILE = ".dockerignore"


@dataclass(slots=True, kw_only=True)
class Location:
    """Where the context and the Dockerfile are; a State where they are not local directories of the client."""

    context: State | None = None
    dockerfile: State | None = None
    filename: str = "Dockerfile"
    context_name: str = CONTEXT
    dockerfile_name: str = DOCKERFILE
    local_dockerfile: bool = False
    http_archive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint:
    """The Dockerfile as read, and the vertex that it was loaded by (warnings go there)."""

    source_map: SourceMap
    vertex: Digest

    @property
    def data(self) -> bytes:
        return self.source_map.data


def internal(name: str) -> Constraints:
    """Constraints of a vertex that the user did not write."""
    return Constraints(description={"llb.customname": f"[internal] {name}"})


@dataclass(slots=True)
class Contexts:
    """Answers where things are, and remembers it; one per run of the frontend."""

    options: Options
    defaults: MarshalDefaults
    _location: Location | None = None
    _ignore: tuple[str, bytes] | None = None
    _inputs: dict[str, Definition] | None = field(default=None)

    def location(self) -> Asking[Location]:
        if self._location is None:
            self._location = yield from self._find()
        return self._location

    def inputs(self) -> Asking[dict[str, Definition]]:
        """What the caller handed over, by name."""
        if self._inputs is None:
            self._inputs = yield Inputs()
        return self._inputs or {}

    def _find(self) -> Asking[Location]:
        raw = self.options.raw
        location = Location(filename=raw.get("filename", "Dockerfile"))
        if "dockerfilekey" in raw:
            location.local_dockerfile, location.dockerfile_name = True, raw["dockerfilekey"]
        url = raw.get(raw.get("contextkey", CONTEXT), "")
        keep_git = parse_bool(raw.get("build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR", "")) is True
        mtime = "commit" if raw.get("build-arg:SOURCE_DATE_EPOCH") else ""
        git = git_context(url, keep_git_dir=keep_git, mtime=mtime)
        if git is not None:
            location.context = location.dockerfile = git
        elif url.startswith(("http://", "https://")):
            yield from self._http(url, location)
        else:
            yield from self._from_inputs(location)
        if location.context is not None and "contextsubdir" in raw:
            location.context = _below(location.context, raw["contextsubdir"])
        return location

    def _http(self, url: str, location: Location) -> Asking[None]:
        """An archive is unpacked and is the context; anything else is the Dockerfile itself."""
        state = http_source(url, internal("load remote build context"), filename=CONTEXT)
        try:
            tree: Tree = yield Solve(definition=marshal(state, self.defaults))
        except DockerfileError as error:
            raise error.prefixed("failed to resolve httpcontext") from None
        try:
            head: bytes = yield ReadFile(tree=tree, path=CONTEXT, length=1024)
        except DockerfileError as error:
            raise error.prefixed("failed to read downloaded context") from None
        location.http_archive = is_archive(head)
        if location.http_archive:
            step = FileStep(action=Copy(src="/" + CONTEXT, dest="/", mode=-1, attempt_unpack=True), source=state.output)
            location.context = scratch().file([step], Constraints())
        else:
            location.filename, location.context = CONTEXT, state
        location.dockerfile = location.context

    def _from_inputs(self, location: Location) -> Asking[None]:
        try:
            inputs = yield from self.inputs()
        except DockerfileError as error:
            raise error.prefixed("failed to get frontend inputs") from None
        if not location.local_dockerfile and location.dockerfile_name in inputs:
            location.dockerfile = definition_state(inputs[location.dockerfile_name])
        if CONTEXT in inputs:
            location.context = definition_state(inputs[CONTEXT])

    def entrypoint(self) -> Asking[Entrypoint]:
        """Reads the Dockerfile, and the ignore file beside it."""
        location = yield from self.location()
        state = None if location.local_dockerfile else location.dockerfile
        if state is None:
            state = self._local_dockerfile(location)
        definition = marshal(state, self.defaults)
        if definition.result is None:
            raise DockerfileError("failed to read dockerfile: the context is empty")
        try:
            tree: Tree = yield Solve(definition=definition)
        except DockerfileError as error:
            raise error.prefixed("failed to resolve dockerfile") from None
        data = yield from self._read_dockerfile(tree, location.filename)
        ignore_name = location.filename + _IGNORE_FILE
        try:
            self._ignore = (ignore_name, (yield ReadFile(tree=tree, path=ignore_name)))
        except DockerfileError:
            self._ignore = None
        source_map = SourceMap(filename=location.filename, language="Dockerfile", data=data, definition=encode_definition(definition))
        return Entrypoint(source_map=source_map, vertex=definition.result.digest)

    def _local_dockerfile(self, location: Location) -> State:
        filename, name = location.filename, location.dockerfile_name
        paths = [filename, filename + _IGNORE_FILE]
        if base_path(filename) == "Dockerfile":
            paths.append(join_path(parent_path(filename), DOCKERFILE))
        return local_source(
            name,
            internal(f"load build definition from {filename}"),
            session=self.options.session_of(name),
            follow_paths=paths,
            shared_key_hint=name,
            differ_none=True,
        )

    def _read_dockerfile(self, tree: Tree, filename: str) -> Asking[bytes]:
        data: bytes
        try:
            data = yield ReadFile(tree=tree, path=filename, length=MAX_SIZE + 1)
            return data
        except DockerfileError as error:
            failure = error.prefixed("failed to read dockerfile")
        if base_path(filename) != "Dockerfile":
            raise failure
        try:
            data = yield ReadFile(tree=tree, path=join_path(parent_path(filename), DOCKERFILE), length=MAX_SIZE + 1)
        except DockerfileError:
            raise failure from None
        return data

    def main_context(self, follow_paths: Sequence[str] = ()) -> Asking[State]:
        """The build context; of a local one only `follow_paths` when there are any."""
        location = yield from self.location()
        if location.context is not None:
            return location.context
        try:
            excludes = yield from self._patterns(location)
        except DockerfileError as error:
            raise error.prefixed("failed to read dockerignore patterns") from None
        name = location.context_name
        return local_source(
            name,
            internal("load build context"),
            session=self.options.session_of(name),
            follow_paths=follow_paths,
            exclude_patterns=excludes,
            shared_key_hint=name,
        )

    def ignore_patterns(self) -> Asking[list[str]]:
        """Patterns of the ignore file of a local context, empty for any other."""
        location = yield from self.location()
        if location.context is not None:
            return []
        return (yield from self._patterns(location))

    def _patterns(self, location: Location) -> Asking[list[str]]:
        if self._ignore is None:
            self._ignore = yield Once("ignore file", self._read_ignore_file(location))
        return parse_ignore_file(self._ignore[1])

    def _read_ignore_file(self, location: Location) -> Asking[tuple[str, bytes]]:
        name = location.context_name
        state = local_source(
            name,
            internal(f"load {_IGNORE_FILE}"),
            session=self.options.session_of(name),
            follow_paths=[_IGNORE_FILE],
            shared_key_hint=f"{name}-{_IGNORE_FILE}",
            differ_none=True,
        )
        tree: Tree = yield Solve(definition=marshal(state, self.defaults))
        try:
            return _IGNORE_FILE, (yield ReadFile(tree=tree, path=_IGNORE_FILE))
        except DockerfileError:
            return _IGNORE_FILE, b""


def _below(state: State, directory: str) -> State:
    step = FileStep(action=Copy(src=directory, dest="/", mode=-1, dir_copy_contents=True), source=state.output)
    return scratch().file([step], Constraints())


_MAGIC = (b"\x42\x5a\x68", b"\x1f\x8b\x08", b"\xfd\x37\x7a\x58\x5a\x00")


def is_archive(head: bytes) -> bool:
    """bzip2, gzip, xz, or the header of a tar."""
    if head.startswith(_MAGIC):
        return True
    if len(head) < tarfile.BLOCKSIZE:
        return False
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def archive_time(data: bytes) -> int | None:
    """The latest modification time of a file in a tar, seconds since the epoch; None when there is none, or it is no tar."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return max((int(member.mtime) for member in archive if member.isreg()), default=None)
    except (tarfile.TarError, OSError, EOFError):
        return None
