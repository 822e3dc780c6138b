"""URLs of git repositories as BuildKit takes them (frontend/dockerfile/dfgitutil, util/gitutil, util/sshutil)."""

import re
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, unquote, urlsplit

from shared.errors import InvalidInput
from shared.llb.go_text import parse_bool, quote
from shared.llb.paths import join_path

_PROTOCOL = re.compile(r"([a-zA-Z0-9]+)://")
_SCP = re.compile(r"([a-zA-Z0-9-_]+)@([a-zA-Z0-9-.]+):(.*?)(?:\?(.*?))?(?:#(.*))?")
_SUPPORTED = frozenset(("http", "https", "ssh", "git"))
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A URL without what BuildKit adds to it; `address` is what git is given."""

    scheme: str
    host: str
    path: str
    address: str
    fragment: str = ""
    query: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRef:
    """A repository and what of it is wanted. `like_local`: `github.com/…` without a scheme, which a COPY takes for a path."""

    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool | None = None
    mtime: str = ""
    fetch_by_commit: bool = False
    like_local: bool = False


def parse_git_ref(text: str) -> GitRef | None:
    """None when `text` is no repository. Raises InvalidInput when it is one, with parameters that make no sense."""
    if text.startswith(("./", "../")):
        return None
    like_local = text.startswith("github.com/")
    remote = parse_remote("https://" + text if like_local else text)
    if remote is None:
        return None
    if not like_local and remote.scheme in ("http", "https") and not remote.path.endswith(".git"):
        return None
    address = remote.address.partition("://")[2] if like_local else remote.address
    ref, _, subdir = remote.fragment.partition(":")
    found = GitRef(remote=address, ref=ref, subdir=join_path("/", subdir).lstrip("/"), like_local=like_local)
    return _with_query(found, remote.query) if remote.query else found


def parse_remote(text: str) -> Remote | None:
    """The parts of a URL, or of git's own `user@host:path`; None for anything else."""
    match = _PROTOCOL.match(text)
    if match is not None:
        return _from_url(text) if match[1].lower() in _SUPPORTED else None
    scp = _SCP.fullmatch(text)
    if scp is None:
        return None
    user, host, path, query, fragment = scp.groups()
    return Remote(
        scheme="ssh",
        host=host,
        path=path,
        address=f"{user}@{host}:{path}",
        fragment=fragment or "",
        query=parse_qs(query or "", keep_blank_values=True),
    )


def _from_url(text: str) -> Remote | None:
    if _CONTROL.search(text) or " " in text.partition("://")[2].partition("/")[0]:
        return None
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    bare, _, fragment = text.partition("#")
    bare = bare.partition("?")[0]
    scheme, _, rest = bare.partition("://")
    return Remote(
        scheme=scheme.lower(),
        host=parts.netloc.rpartition("@")[2],
        path=unquote(parts.path),
        address=f"{scheme.lower()}://{rest}",
        fragment=unquote(fragment),
        query=parse_qs(parts.query, keep_blank_values=True),
    )


_FLAGS = ("submodules", "keep-git-dir", "fetch-by-commit")


def _with_query(ref: GitRef, query: dict[str, list[str]]) -> GitRef:
    tag = branch = ""
    for key, values in query.items():
        if len(values) > 1:
            raise InvalidInput(f"query {quote(key)} has multiple values")
        value = values[0] if values else ""
        if not value and key not in _FLAGS:
            raise InvalidInput(f"query {quote(key)} has no value")
        match key:
            case "ref":
                ref = replace(ref, ref=_agreed("ref", ref.ref, value))
            case "tag":
                tag = value
            case "branch":
                branch = value
            case "subdir":
                ref = replace(ref, subdir=_agreed("subdir", ref.subdir, value))
            case "checksum" | "commit":
                ref = replace(ref, checksum=value)
            case "keep-git-dir":
                ref = replace(ref, keep_git_dir=_flag(key, value))
            case "submodules":
                ref = replace(ref, submodules=_flag(key, value))
            case "fetch-by-commit":
                ref = replace(ref, fetch_by_commit=_flag(key, value))
            case "mtime":
                if value not in ("checkout", "commit"):
                    raise InvalidInput(f'invalid mtime value: {quote(value)} (must be "checkout" or "commit")')
                ref = replace(ref, mtime=value)
            case _:
                raise InvalidInput(f"unexpected query {quote(key)}")
    return _with_tag_or_branch(ref, tag, branch)


def _with_tag_or_branch(ref: GitRef, tag: str, branch: str) -> GitRef:
    if tag:
        tag = tag if tag.startswith("refs/tags/") else "refs/tags/" + tag
        ref = replace(ref, ref=_agreed("ref", ref.ref, tag))
    if branch:
        if tag:
            raise InvalidInput("branch conflicts with tag")
        branch = branch if branch.startswith("refs/heads/") else "refs/heads/" + branch
        ref = replace(ref, ref=_agreed("ref", ref.ref, branch))
    return ref


def _agreed(what: str, present: str, wanted: str) -> str:
    if present and present != wanted:
        raise InvalidInput(f"{what} conflicts: {quote(present)} vs {quote(wanted)}")
    return wanted


def _flag(key: str, value: str) -> bool:
    flag = parse_bool(value) if value else True
    if flag is None:
        raise InvalidInput(f"invalid {key} value: {quote(value)}")
    return flag


def git_material(text: str, *, subdir: bool) -> tuple[str, bool]:
    """`remote#ref[:subdir]` of a repository's URL and True; the text itself and False when it names none (dfgitutil FragmentFormat)."""
    try:
        found = parse_git_ref(text)
    except InvalidInput:
        found = None
    if found is None:
        return text, False
    below = found.subdir if subdir else ""
    fragment = "#" + found.ref + (f":{below}" if below else "") if found.ref or below else ""
    return found.remote + fragment, True


def git_identifier(text: str, address: str = "") -> str:
    """The one form of a git source's identifier: `git://host/path#ref:subdir`, however it is reached (source/git/identifier.go).

    `text` = the identifier behind `git://`; `address` = the URL that git is given, "" = the same. What is no URL stays as it is.
    """
    named = parse_remote(text) or parse_remote(f"https://{text}")
    reached = (parse_remote(address) or parse_remote(f"https://{address}")) if address else named
    if named is None or reached is None:
        return f"git://{text}"
    ref, _, subdir = named.fragment.partition(":")
    subdir = join_path("/", subdir).lstrip("/")
    fragment = f"#{ref}" + (f":{subdir}" if subdir else "") if ref or subdir else ""
    return f"git://{reached.host}{join_path('/', reached.path)}{fragment}"
