"""Sources as states (client/llb/source.go). References and URLs come in their normal form; nothing here parses them."""

import json
from collections.abc import Mapping, Sequence

from shared.llb.caps import Cap
from shared.llb.state import State, new_state
from shared.llb.vertices import Constraints, Output, SourceVertex


def source(identifier: str, attrs: Mapping[str, str], constraints: Constraints) -> State:
    """Any source."""
    vertex = SourceVertex(identifier, dict(attrs), constraints)
    return new_state(Output(vertex, 0, constraints.platform))


def image_source(reference: str, constraints: Constraints, *, resolve_mode: str = "", record_type: str = "") -> State:
    """An image; `resolve_mode` "" = default, `pull`, `local`."""
    attrs: dict[str, str] = {}
    constraints.need(Cap.SOURCE_IMAGE)
    if resolve_mode not in ("", "default"):
        attrs["image.resolvemode"] = resolve_mode
        if resolve_mode == "pull":
            constraints.need(Cap.SOURCE_IMAGE_RESOLVE_MODE)
    if record_type:
        attrs["image.recordtype"] = record_type
    return source("docker-image://" + reference, attrs, constraints)


def oci_layout_source(reference: str, constraints: Constraints, *, session: str = "", store: str = "") -> State:
    """An image in a content store of the client."""
    attrs = {k: v for k, v in (("oci.session", session), ("oci.store", store)) if v}
    constraints.need(Cap.SOURCE_OCI_LAYOUT)
    return source("oci-layout://" + reference, attrs, constraints)


def local_source(
    name: str,
    constraints: Constraints,
    *,
    session: str = "",
    follow_paths: Sequence[str] = (),
    exclude_patterns: Sequence[str] = (),
    shared_key_hint: str = "",
    differ_none: bool = False,
) -> State:
    """A directory of the client. `differ_none`: send all files, compare none."""
    attrs: dict[str, str] = {}
    if session:
        attrs["local.session"] = session
        constraints.need(Cap.SOURCE_LOCAL_SESSION_ID)
    if follow_paths:
        attrs["local.followpaths"] = _json(follow_paths)
        constraints.need(Cap.SOURCE_LOCAL_FOLLOW_PATHS)
    if exclude_patterns:
        attrs["local.excludepatterns"] = _json(exclude_patterns)
        constraints.need(Cap.SOURCE_LOCAL_EXCLUDE_PATTERNS)
    if shared_key_hint:
        attrs["local.sharedkeyhint"] = shared_key_hint
        constraints.need(Cap.SOURCE_LOCAL_SHARED_KEY_HINT)
    if differ_none:
        attrs["local.differ"] = "none"
    constraints.need(Cap.SOURCE_LOCAL)
    return source("local://" + name, attrs, constraints)


_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def _json(items: Sequence[str]) -> str:
    """encoding/json's form of a string list: HTML characters escaped, invalid bytes replaced."""
    valid = [i.encode("utf-8", "replace").decode() if i.isascii() else _replaced(i) for i in items]
    return json.dumps(valid, ensure_ascii=False, separators=(",", ":")).translate(_HTML)


def _replaced(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= ch <= "\udfff" else ch for ch in text)


def http_source(url: str, constraints: Constraints, *, filename: str = "", checksum: str = "") -> State:
    """A download, as the file `filename` in an otherwise empty tree."""
    attrs: dict[str, str] = {}
    if checksum:
        attrs["http.checksum"] = checksum
        constraints.need(Cap.SOURCE_HTTP_CHECKSUM)
    if filename:
        attrs["http.filename"] = filename
    constraints.need(Cap.SOURCE_HTTP)
    return source(url, attrs, constraints)


def git_source(
    identifier: str,
    remote: str,
    constraints: Constraints,
    *,
    keep_git_dir: bool = False,
    checksum: str = "",
    skip_submodules: bool = False,
    mtime: str = "",
    fetch_by_commit: bool = False,
    ssh: bool = False,
    known_hosts: str = "",
) -> State:
    """A checkout. `identifier` = host/path[#ref[:subdir]], equal for every way to reach the repository; `remote` the URL for git."""
    attrs: dict[str, str] = {}
    optional = (
        (keep_git_dir, "git.keepgitdir", "true", Cap.SOURCE_GIT_KEEP_DIR),
        (bool(remote), "git.fullurl", remote, Cap.SOURCE_GIT_FULL_URL),
        (bool(checksum), "git.checksum", checksum, Cap.SOURCE_GIT_CHECKSUM),
        (skip_submodules, "git.skipsubmodules", "true", Cap.SOURCE_GIT_SKIP_SUBMODULES),
        (bool(mtime), "git.mtime", mtime, Cap.SOURCE_GIT_MTIME),
        (fetch_by_commit, "git.fetchbycommit", "true", Cap.SOURCE_GIT_FETCH_BY_COMMIT),
        (ssh, "git.mountsshsock", "default", Cap.SOURCE_GIT_MOUNT_SSH_SOCK),
    )
    for wanted, key, value, cap in optional:
        if wanted:
            attrs[key] = value
            constraints.need(cap)
    if ssh:
        constraints.need(Cap.SOURCE_GIT_KNOWN_SSH_HOSTS)
        if known_hosts:
            attrs["git.knownsshhosts"] = known_hosts
    attrs["git.authtokensecret"] = "GIT_AUTH_TOKEN"
    attrs["git.authheadersecret"] = "GIT_AUTH_HEADER"
    constraints.need(Cap.SOURCE_GIT)
    return source("git://" + identifier, attrs, constraints)
