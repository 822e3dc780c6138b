"""ADD and COPY (dockerfile2llb/convert_copy.go dispatchCopy)."""

from dataclasses import dataclass

from services.frontend.core.dockerfile import rules
from services.frontend.core.dockerfile.commands import InlineSource, Transfer
from services.frontend.core.dockerfile.linter import Linter
from services.frontend.core.failure import DockerfileError
from services.frontend.core.git_url import GitRef, parse_git_ref
from services.frontend.core.to_llb.history import commit
from services.frontend.core.to_llb.modes import parse_mode
from services.frontend.core.to_llb.names import prefixed, shown_command
from services.frontend.core.to_llb.owners import parse_owner
from services.frontend.core.to_llb.remote_sources import git_add, http_add, is_http
from services.frontend.core.to_llb.setting import Setting
from services.frontend.core.to_llb.stage_state import StageState
from services.frontend.core.to_llb.workdirs import driveless, is_absolute_for, normalize_path, to_slash
from shared.fsutil import PatternMatcher
from shared.llb import Chown, Constraints, Copy, FileStep, MkFile, State, clean_path, join_path, merge, scratch
from shared.llb.go_text import quote
from shared.model import ProgressGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOrder:
    """An ADD or COPY with where it copies from. `ignored`: patterns that exclude files of the context."""

    command: Transfer
    source: State
    ignored: PatternMatcher | None = None
    is_add: bool = False
    parents: bool = False
    keep_git_dir: bool | None = None
    checksum: str = ""
    unpack: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """What all actions of one instruction have in common."""

    dest: str
    name: str
    owner: Chown | None
    mode: int
    mode_str: str
    excludes: tuple[str, ...]

    def copy(self, src: str, *, unpack: bool = False) -> Copy:
        """Of one file that is known to be there."""
        return Copy(
            src=src,
            dest=self.dest,
            owner=self.owner,
            mode=self.mode,
            mode_str=self.mode_str,
            attempt_unpack=unpack,
            create_dest_path=True,
            exclude_patterns=self.excludes,
        )


def dispatch_copy(stage: StageState, order: CopyOrder, setting: Setting, linter: Linter) -> None:
    """Raises DockerfileError, without the place."""
    command = order.command
    dest = _destination(stage, command.dest)
    mode, mode_str = parse_mode(command.chmod) if command.chmod else (-1, "")
    _check_checksum(order)
    env = stage.state.env
    shown = shown_command(command.code, env, setting.words)
    base = _Base(
        dest=dest,
        name=prefixed(stage, shown, env, stage.platform),
        owner=parse_owner(command.chown) if command.chown else None,
        mode=mode,
        mode_str=mode_str,
        excludes=command.excludes,
    )
    steps = [_source_step(stage, source, order, base, linter) for source in command.sources]
    steps += [_inline_step(stage, content, base) for content in command.contents]
    if command.link and not command.chmod:
        _linked(stage, steps, order, base, shown, setting)
    else:
        constraints = setting.constraints(base.name, command.location, ignore_cache=stage.ignore_cache)
        stage.state = stage.state.file(steps, constraints)
    commit(stage.image, _history_text(order), setting.epoch, layer=True, marked=True)


def _history_text(order: CopyOrder) -> str:
    command = order.command
    words = ["ADD" if order.is_add else "COPY"]
    words += ["--parents"] if order.parents else []
    words += [f"--chown={command.chown}"] if command.chown else []
    words += [f"--chmod={command.chmod}"] if command.chmod else []
    return " ".join([*words, *command.sources, *("<<" + content.path for content in command.contents), command.dest])


def _destination(stage: StageState, path: str) -> str:
    path = driveless(path, stage.os, keep_slash=True)
    if is_absolute_for(path, stage.os):
        return normalize_path("/", path, stage.os, keep_slash=True)
    return normalize_path(stage.state.directory, "./" if path in (".", "") else path, stage.os, keep_slash=True)


def _check_checksum(order: CopyOrder) -> None:
    if not order.checksum:
        return
    sources = order.command.sources
    if len(sources) != 1:
        raise DockerfileError("checksum can't be specified for multiple sources")
    if not is_http(sources[0]) and not _is_git(sources[0]):
        raise DockerfileError("checksum requires HTTP(S) or Git sources")


def _is_git(source: str) -> bool:
    try:
        return parse_git_ref(source) is not None
    except DockerfileError:
        return False


def _source_step(stage: StageState, source: str, order: CopyOrder, base: _Base, linter: Linter) -> FileStep:
    git: GitRef | None = parse_git_ref(source)
    if git is not None and not git.like_local:
        if not order.is_add:
            raise DockerfileError("source can't be a git ref for COPY")
        state = git_add(git, base.name, keep_git_dir=order.keep_git_dir, checksum=order.checksum)
        return FileStep(action=base.copy("/"), source=state.output)
    if is_http(source):
        if not order.is_add:
            raise DockerfileError("source can't be a URL for COPY")
        state, filename = http_add(source, base.name, order.checksum)
        action = base.copy(filename, unpack=order.unpack is True)
        return FileStep(action=action, source=state.output, source_dir=state.directory)
    _check_ignored(source, order, linter)
    return FileStep(action=_context_copy(stage, source, order, base), source=order.source.output, source_dir=order.source.directory)


def _context_copy(stage: StageState, source: str, order: CopyOrder, base: _Base) -> Copy:
    patterns: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    if order.parents:
        root, pivot, pattern = source.partition("/./")
        source, pattern = (root, pattern) if pivot else ("/", source)
        pattern = _normalized(pattern, stage.os)
        patterns = (pattern.removeprefix("/"),)
        if not _has_wildcards(source) and not _has_wildcards(pattern):
            required = (_normalized(join_path(source, pattern), stage.os),)
    return Copy(
        src=_normalized(source, stage.os),
        dest=base.dest,
        owner=base.owner,
        mode=base.mode,
        mode_str=base.mode_str,
        follow_symlink=True,
        dir_copy_contents=True,
        attempt_unpack=order.is_add if order.unpack is None else order.unpack,
        create_dest_path=True,
        allow_wildcard=True,
        allow_empty_wildcard=True,
        include_patterns=patterns,
        exclude_patterns=base.excludes,
        required_paths=required,
    )


def _normalized(path: str, os: str) -> str:
    try:
        return normalize_path("/", path, os, keep_slash=False)
    except DockerfileError as error:
        raise error.prefixed("removing drive letter") from None


def _has_wildcards(name: str) -> bool:
    escaped = False
    for ch in name:
        if not escaped and ch in "*?[":
            return True
        escaped = ch == "\\" and not escaped
    return False


def _inline_step(stage: StageState, content: InlineSource, base: _Base) -> FileStep:
    path = driveless(content.path, stage.os, keep_slash=False)
    constraints = Constraints(platform=stage.platform, description={"llb.customname": "[internal] preparing inline document"})
    data = content.data.encode("utf-8", "surrogateescape")
    tree = scratch().file([FileStep(action=MkFile(path=path, mode=0o644, data=data))], constraints)
    action = base.copy(to_slash(path, stage.os))
    return FileStep(action=action, source=tree.output, source_dir=tree.directory)


def _linked(stage: StageState, steps: list[FileStep], order: CopyOrder, base: _Base, shown: str, setting: Setting) -> None:
    """--link: copied onto an empty tree and merged, so that the step does not depend on those before it."""
    env = stage.state.env
    group = setting.new_id()
    location = order.command.location
    stage.command_index -= 1  # three names for one step
    group_name = prefixed(stage, shown, env, stage.platform)
    copy_constraints = setting.constraints(
        base.name,
        location,
        platform=stage.platform,
        ignore_cache=stage.ignore_cache,
        progress_group=ProgressGroup(id=group, name=group_name, weak=True),
    )
    stage.command_index -= 1
    merge_constraints = setting.constraints(
        prefixed(stage, "LINK " + shown, env, stage.platform),
        location,
        ignore_cache=stage.ignore_cache,
        progress_group=ProgressGroup(id=group, name=group_name, weak=False),
    )
    layer = scratch().file(steps, copy_constraints)
    stage.state = stage.state.with_output(merge([stage.state, layer], merge_constraints).output)


def _check_ignored(source: str, order: CopyOrder, linter: Linter) -> None:
    """Exceptions in the ignore file make this undecidable, so then nothing is said."""
    matcher = order.ignored
    if matcher is None or matcher.has_exclusions:
        return
    source = clean_path(source)
    if source in (".", "/") and not any(p.text in ("*", "**", "**/*") for p in matcher.patterns):
        return
    if matcher.matches(source):
        verb = "Add" if order.is_add else "Copy"
        message = f"Attempting to {verb} file {quote(source)} that is excluded by .dockerignore"
        linter.run(rules.COPY_IGNORED_FILE, order.command.location, message)
