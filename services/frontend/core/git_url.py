"""Git repositories as contexts and ADD sources."""

from services.frontend.core.failure import DockerfileError
from shared.errors import InvalidInput
from shared.llb import Constraints, State, git_source, join_path
from shared.llb.git_url import GitRef, Remote, parse_remote
from shared.llb.git_url import parse_git_ref as parse_ref
from shared.llb.go_text import quote

__all__ = ["GitRef", "Remote", "git_context", "git_state", "parse_git_ref", "parse_remote"]


def parse_git_ref(text: str) -> GitRef | None:
    """None when `text` is no repository. Raises DockerfileError when it is one, with parameters that make no sense."""
    try:
        return parse_ref(text)
    except InvalidInput as error:
        raise DockerfileError(error.message) from None


def git_state(ref: GitRef, constraints: Constraints, *, keep_git_dir: bool = False, checksum: str = "", mtime: str = "") -> State:
    """The checkout of `ref` (client/llb/source.go Git). Host keys are not looked up here: a frontend has no network."""
    remote = parse_remote(ref.remote) or parse_remote("https://" + ref.remote)
    if remote is None:
        raise DockerfileError(f"invalid git remote {quote(ref.remote)}")
    identifier = remote.host + join_path("/", remote.path)
    if ref.ref or ref.subdir:
        identifier += "#" + ref.ref + (f":{ref.subdir}" if ref.subdir else "")
    return git_source(
        identifier,
        remote.address,
        constraints,
        keep_git_dir=keep_git_dir,
        checksum=checksum,
        skip_submodules=ref.submodules is False,
        mtime=mtime,
        fetch_by_commit=ref.fetch_by_commit,
        ssh=remote.scheme == "ssh",
    )


def git_context(text: str, *, keep_git_dir: bool = False, mtime: str = "") -> State | None:
    """The checkout of a context given by URL, None when it is no repository (frontend/dockerui/context.go DetectGitContext)."""
    ref = parse_git_ref(text)
    if ref is None:
        return None
    constraints = Constraints(description={"llb.customname": f"[internal] load git source {text}"})
    keep = keep_git_dir or ref.keep_git_dir is True
    return git_state(ref, constraints, keep_git_dir=keep, checksum=ref.checksum, mtime=ref.mtime or mtime)
