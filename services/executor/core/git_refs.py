"""What can be known of a git source without running git: URLs, refs, cache keys (source/git/source.go, util/gitutil, util/sshutil)."""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from services.executor.core.source_ids import BlobSource, GitSource, parse_source
from shared.errors import BuildFailed, InvalidInput

TRANSPORTS = ("http", "https", "ssh", "git")
_MASK = "xxxxx"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SCP = re.compile(r"[a-zA-Z0-9_-]+@([a-zA-Z0-9.-]+):.*")
_SCHEME = re.compile(r"([a-zA-Z0-9]+)://")
_DEFAULT_BRANCH = re.compile(r"refs/heads/(\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a ref is now. `checksum` is the object it names; `commit` differs from it for an annotated tag ("" = the same)."""

    ref: str
    checksum: str
    commit: str = ""


def is_commit(text: str) -> bool:
    """A whole object name of either hash."""
    return _COMMIT.fullmatch(text) is not None


def check_remote(remote: str) -> str:
    """The URL to give to git. Raises InvalidInput for other transports: file, ext and helpers read our disk or run code."""
    if _SCP.fullmatch(remote):
        return remote
    scheme = _SCHEME.match(remote)
    if scheme is None:
        return "https://" + remote
    if scheme[1].lower() not in TRANSPORTS:
        raise InvalidInput(f"invalid git remote {redact(remote)[:200]!r}: protocol {scheme[1][:40]} is not allowed")
    return remote


def host_of(remote: str) -> str:
    """Host and port, as secrets are named after."""
    scp = _SCP.fullmatch(remote)
    return scp[1] if scp else urlsplit(remote).netloc.rpartition("@")[2]


def redact(url: str) -> str:
    """The same without user and password."""
    parts = urlsplit(url) if "://" in url else None
    if parts is None or "@" not in parts.netloc:
        return url
    user, _, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    masked = (_MASK if name else "") + (f":{_MASK}" if colon else "")
    return urlunsplit(parts._replace(netloc=f"{masked}@{host}"))


def token_scope(remote: str) -> str:
    """The URL prefix that credentials are sent to: the remote alone, all of github.com for a github remote."""
    for prefix in ("https://github.com/", "https://www.github.com/"):
        if remote.startswith(prefix):
            return prefix
    return remote


def secret_names(source: GitSource, remote: str) -> list[tuple[str, bool]]:
    """Secrets to try in order, and whether each is a bare token; those of the host come first."""
    kinds = [(source.auth_header_secret, False), (source.auth_token_secret, True)]
    named = [(name, token) for name, token in kinds if name]
    return [(f"{name}.{host_of(remote)}", token) for name, token in named] + named


def snapshot_key(source: GitSource, sha: str, ref: str) -> str:
    """The source's own cache key for an object."""
    key = sha
    if source.keep_git_dir:
        key += ".git" + (f"#{ref}" if ref else "")
    if source.subdir:
        key += f":{source.subdir}"
    if source.skip_submodules:
        key += "(skip-submodules)"
    if source.mtime not in ("", "checkout"):
        key += f"(mtime={source.mtime})"
    if source.checkout_bundle:
        key += "(bundle)"
    return key


def cache_key(source: GitSource, found: Resolved) -> str:
    """The commit decides, except that a kept .git knows about the tag."""
    if is_commit(found.ref):
        return snapshot_key(source, found.ref, found.ref)
    sha = found.commit if found.commit and not source.keep_git_dir else found.checksum
    return snapshot_key(source, sha, found.ref)


def resolve_offline(source: GitSource) -> Resolved | None:
    """The answer when the ref or the checksum says it all, None when the remote has to be asked. Raises BuildFailed for a contradiction."""
    if source.bundle and not source.ref:
        return Resolved(ref=source.checksum, checksum=source.checksum)
    if is_commit(source.ref):
        if source.checksum and not source.ref.startswith(source.checksum):
            raise BuildFailed(f"expected checksum to match {source.checksum}, got {source.ref}")
        return Resolved(ref=source.ref, checksum=source.ref)
    if not source.fetch_by_commit:
        return None
    if not source.checksum:
        raise InvalidInput("fetch-by-commit requires a checksum or a commit SHA ref")
    if not is_commit(source.checksum):
        raise InvalidInput(f'fetch-by-commit requires a full commit SHA checksum, got "{source.checksum}"')
    return Resolved(ref=_qualified(source.ref) or source.checksum, checksum=source.checksum)


def bundle_blob(source: GitSource) -> BlobSource:
    """Where the bundle lies. Raises InvalidInput for other places than registries and OCI layouts, and without a pinned commit."""
    if not source.bundle.startswith(("docker-image+blob://", "oci-layout+blob://")):
        raise InvalidInput(f"git.bundle locator {source.bundle[:200]!r} is not supported")
    if not source.checksum or not (source.ref or is_commit(source.checksum)):
        raise InvalidInput("git.bundle requires git.checksum to be set, to a whole commit hash where there is no ref")
    store = source.bundle_store or source.bundle.partition("://")[2].partition("@")[0]
    blob = parse_source(source.bundle, {"oci.session": source.bundle_session, "oci.store": store})
    assert isinstance(blob, BlobSource)
    return blob


def _qualified(ref: str) -> str:
    return f"refs/heads/{ref}" if ref and not ref.startswith("refs/") else ref


def default_branch(output: str, remote: str) -> str:
    """From `git ls-remote --symref REMOTE HEAD`. Raises BuildFailed."""
    found = _DEFAULT_BRANCH.search(output)
    if found is None or found[1].startswith("-"):
        raise BuildFailed(f"could not find default branch for repository: {redact(remote)}")
    return found[1]


def pick_ref(source: GitSource, ref: str, output: str) -> Resolved:
    """From `git ls-remote REMOTE ref ref^{}`: the full name first, then a branch, then a tag. Raises BuildFailed."""
    found: dict[str, str] = {}
    for line in output.splitlines():
        sha, _, name = line.partition("\t")
        found[name] = sha
    tag = "refs/tags/" + ref.removeprefix("refs/tags/")
    sha, used, commit = _choose(found, ref, tag)
    if not sha:
        raise BuildFailed(f"repository does not contain ref {ref}, output: {output!r:.500}")
    if not is_commit(sha):
        raise BuildFailed(f"invalid commit sha {sha!r:.80}")
    resolved = Resolved(ref=used, checksum=sha, commit=commit)
    check_resolved(source, resolved)
    return dataclasses.replace(resolved, commit="") if source.keep_git_dir else resolved


def check_resolved(source: GitSource, found: Resolved) -> None:
    """Raises BuildFailed unless the tag or its commit begins with the source's checksum."""
    names = [sha for sha in (found.checksum, found.commit) if sha]
    if source.checksum and not any(sha.startswith(source.checksum) for sha in names):
        raise BuildFailed(f"expected checksum to match {source.checksum}, got {' or '.join(names)}")


def _choose(found: dict[str, str], ref: str, tag: str) -> tuple[str, str, str]:
    whole = "refs/" + ref.removeprefix("refs/")
    branch = "refs/heads/" + ref.removeprefix("refs/heads/")
    names: Sequence[str] = (branch, tag, whole) if whole in (branch, tag) else (whole, branch, tag)
    for name in names:
        if found.get(name):
            return found[name], name, found.get(tag + "^{}", "") if name == tag else ""
    return "", "", ""
