"""SOURCE_DATE_EPOCH: a number, `context`, a named context, or a stage that holds one remote source (dockerfile2llb/epoch.go)."""

import re
from collections.abc import Mapping, Sequence

from services.frontend.core.context import Contexts, archive_time
from services.frontend.core.dockerfile.commands import Add, Arg
from services.frontend.core.dockerfile.shell_words import WordRules, expand
from services.frontend.core.dockerfile.stages import Stage
from services.frontend.core.failure import DockerfileError, located
from services.frontend.core.git_url import git_state, parse_git_ref
from services.frontend.core.named_context import find_named
from services.frontend.core.requests import Asking, ReadFile, ResolveSource, Solve, SourceFacts, Tree
from services.frontend.core.to_llb.remote_sources import check_digest, http_filename, is_http
from shared.llb import Constraints, Env, MarshalDefaults, SourceOp, State, decode_op, env_with, env_without, http_source, marshal, source
from shared.llb.go_text import quote

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


def resolve_epoch(
    value: str, contexts: Contexts, stages: Sequence[Stage], env: Env, build_args: Mapping[str, str], words: WordRules
) -> Asking[int | None]:
    """Seconds since the epoch, None when there is nothing to tell them by. Raises DockerfileError."""
    if not value:
        return None
    if _NUMBER.fullmatch(value):
        return int(value)
    if value == "context":
        state = yield from contexts.main_context()
        return (yield from _time_of(state, contexts, "[internal] resolve main build context metadata"))
    named = find_named(contexts, value, None, lambda: ())
    if named is not None:
        state, _ = yield from named.load()
        return (yield from _time_of(state, contexts, f"[internal] resolve SOURCE_DATE_EPOCH named context {value}"))
    for stage in stages:
        if stage.name.lower() == value.lower():
            with located(stage.location):
                state = _stage_source(stage, env_without(env, "SOURCE_DATE_EPOCH"), build_args, words)
            return (yield from _time_of(state, contexts, f"[internal] resolve SOURCE_DATE_EPOCH source stage {stage.name}"))
    raise DockerfileError(f"invalid SOURCE_DATE_EPOCH: {value}")


def _stage_source(stage: Stage, env: Env, build_args: Mapping[str, str], words: WordRules) -> State:
    if expand(stage.base, env, words).text != "scratch":
        raise DockerfileError("SOURCE_DATE_EPOCH stage must use FROM scratch")
    found: State | None = None
    for command in stage.commands:
        match command:
            case Arg():
                for declaration in command.declarations:
                    if declaration.key in build_args:
                        env = env_with(env, declaration.key, build_args[declaration.key])
                    elif declaration.value is not None:
                        env = env_with(env, declaration.key, expand(declaration.value, env, words).text)
            case Add() if found is None:
                found = _remote(command, env, words)
            case Add():
                raise DockerfileError("SOURCE_DATE_EPOCH stage must contain exactly one remote ADD")
            case _:
                raise DockerfileError(
                    f"SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported {command.name} instruction"
                )
    if found is None:
        raise DockerfileError("SOURCE_DATE_EPOCH stage must contain exactly one remote ADD")
    return found


def _remote(command: Add, env: Env, words: WordRules) -> State:
    if command.contents or len(command.sources) != 1:
        raise DockerfileError("SOURCE_DATE_EPOCH stage must contain exactly one remote ADD source")
    url = expand(command.sources[0], env, words).text
    checksum = expand(command.checksum, env, words).text if command.checksum else ""
    if is_http(url):
        if checksum:
            check_digest(checksum)
        return http_source(url, Constraints(), filename=http_filename(url), checksum=checksum)
    ref = parse_git_ref(url)
    if ref is None or ref.like_local:
        raise DockerfileError("SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD")
    keep = command.keep_git_dir is True or ref.keep_git_dir is True
    return git_state(ref, Constraints(), keep_git_dir=keep, checksum=checksum or ref.checksum)


def _time_of(state: State, contexts: Contexts, log_name: str) -> Asking[int | None]:
    op = _only_source(state, contexts.defaults)
    if op is None:
        return None
    facts: SourceFacts = yield ResolveSource(source=op, log_name=log_name, return_object=op.scheme == "git")
    if facts.commit:
        return commit_time(facts.commit)
    if facts.last_modified is not None:
        return facts.last_modified
    filename = op.attrs.get("http.filename")
    if op.scheme not in ("http", "https") or not filename:
        return None
    download = source(op.identifier, op.attrs, Constraints())
    tree: Tree = yield Solve(definition=marshal(download, contexts.defaults))
    return archive_time((yield ReadFile(tree=tree, path=filename)))


def _only_source(state: State, defaults: MarshalDefaults) -> SourceOp | None:
    """The source of a graph that has exactly one."""
    kinds = [decode_op(data).kind for data in marshal(state, defaults).data.values()]
    sources = [kind for kind in kinds if isinstance(kind, SourceOp)]
    return sources[0] if len(sources) == 1 else None


_COMMITTER = re.compile(rb"^committer .*> ([0-9]{1,18}) [+-][0-9]{4}$", re.MULTILINE)


def commit_time(data: bytes) -> int:
    """When a git commit object was committed. Raises DockerfileError for a malformed one."""
    match = _COMMITTER.search(data.partition(b"\n\n")[0])
    if match is None:
        raise DockerfileError(f"invalid git commit object: {quote(data[:100].decode('utf-8', 'replace'))}")
    return int(match[1])
