"""Source identifiers and attributes, checked (solver/pb/attr.go, source/*/identifier.go, util/gitutil). Everything here came from a client.

`parse_source` is total: a typed source, or InvalidInput naming what is wrong.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from services.executor.core.signatures.git_objects import SignatureWish
from shared.errors import InvalidInput
from shared.model import is_digest
from shared.oci import Reference, parse_reference

_MODES = ("default", "pull", "local")
_RECORD_TYPES = {"": "", "internal": "internal", "frontend": "frontend", "regular": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """`docker-image://` or, with `store`, `oci-layout://`. `layer_limit` None = all layers."""

    reference: Reference
    resolve_mode: str = "default"
    record_type: str = ""
    layer_limit: int | None = None
    checksum: str = ""
    oci_layout: bool = False
    session: str = ""
    store: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSource:
    """`local://name`."""

    name: str
    session: str = ""
    unique: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()
    shared_key_hint: str = ""
    differ: str = "metadata"
    metadata_only: bool = False
    metadata_exceptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSource:
    """`http://`, `https://`. `perm` 0 = default (0600). `signature`: armored, over the body, by one of `public_key`; both or none."""

    url: str
    checksum: str = ""
    filename: str = ""
    perm: int = 0
    uid: int = 0
    gid: int = 0
    auth_header_secret: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    public_key: bytes = b""
    signature: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSource:
    """`git://host/path#ref:subdir`; `remote` is the URL to fetch from."""

    remote: str
    ref: str = ""
    subdir: str = ""
    keep_git_dir: bool = False
    auth_header_secret: str = "GIT_AUTH_HEADER"
    auth_token_secret: str = "GIT_AUTH_TOKEN"
    known_hosts: str = ""
    ssh_socket: str = ""
    checksum: str = ""
    skip_submodules: bool = False
    mtime: str = ""
    fetch_by_commit: bool = False
    bundle: str = ""
    bundle_session: str = ""
    bundle_store: str = ""
    checkout_bundle: bool = False
    signature: SignatureWish | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobSource:
    """`docker-image+blob://`, `oci-layout+blob://`: one blob as a file."""

    reference: Reference
    filename: str = ""
    perm: int = 0
    uid: int = 0
    gid: int = 0
    oci_layout: bool = False
    session: str = ""
    store: str = ""


Source: TypeAlias = ImageSource | LocalSource | HttpSource | GitSource | BlobSource


def parse_source(identifier: str, attrs: Mapping[str, str]) -> Source:
    """Raises InvalidInput."""
    scheme, separator, rest = identifier.partition("://")
    if not separator:
        raise InvalidInput(f"failed to parse source identifier {identifier[:200]!r}: no scheme")
    match scheme:
        case "docker-image" | "oci-layout":
            return _image(scheme, rest, attrs)
        case "docker-image+blob" | "oci-layout+blob":
            return _blob(scheme, rest, attrs)
        case "local":
            return _local(rest, attrs)
        case "http" | "https":
            return _http(identifier, attrs)
        case "git":
            return _git(rest, attrs)
    raise InvalidInput(f"unsupported source scheme {scheme[:60]!r} in {identifier[:200]!r}")


def _image(scheme: str, rest: str, attrs: Mapping[str, str]) -> ImageSource:
    oci = scheme == "oci-layout"
    reference = _reference(scheme, rest)
    if not reference.object:
        raise InvalidInput(f"image reference {rest[:200]!r} has neither tag nor digest: object required")
    if oci and reference.digest is None:
        raise InvalidInput(f"oci-layout reference {rest[:200]!r} must have a digest")
    mode = attrs.get("image.resolvemode", "default")
    if mode not in _MODES:
        raise InvalidInput(f"invalid image.resolvemode: {mode[:60]!r}")
    record_type = attrs.get("image.recordtype", "")
    if record_type not in _RECORD_TYPES:
        raise InvalidInput(f"invalid image.recordtype: {record_type[:60]!r}")
    checksum = attrs.get("image.checksum", "")
    if checksum and not is_digest(checksum):
        raise InvalidInput(f"invalid image.checksum: {checksum[:100]!r}")
    limit = attrs.get("oci.layerlimit" if oci else "image.layerlimit")
    return ImageSource(
        reference=reference,
        resolve_mode=mode,
        record_type=_RECORD_TYPES[record_type],
        layer_limit=None if limit is None else _layer_limit(limit),
        checksum=checksum,
        oci_layout=oci,
        session=attrs.get("oci.session", ""),
        store=attrs.get("oci.store", ""),
    )


def _layer_limit(text: str) -> int:
    limit = _integer("layer limit", text)
    if limit <= 0:
        raise InvalidInput(f"invalid layer limit {text[:40]}")
    return limit


def _reference(scheme: str, text: str) -> Reference:
    try:
        return parse_reference(text)
    except ValueError as e:
        raise InvalidInput(f"invalid {scheme} reference {text[:200]!r}: {e}") from None


def _blob(scheme: str, rest: str, attrs: Mapping[str, str]) -> BlobSource:
    reference = _reference(scheme, rest)
    if reference.digest is None:
        raise InvalidInput(f"{scheme} reference {rest[:200]!r} must have a digest")
    return BlobSource(
        reference=reference,
        filename=_filename(attrs.get("http.filename", "")),
        oci_layout=scheme.startswith("oci-layout"),
        session=attrs.get("oci.session", ""),
        store=attrs.get("oci.store", ""),
        **_ownership(attrs),
    )


def _local(name: str, attrs: Mapping[str, str]) -> LocalSource:
    if not name or "\0" in name or len(name) > 256:
        raise InvalidInput(f"invalid local source name {name[:100]!r}")
    differ = attrs.get("local.differ", "metadata")
    if differ not in ("none", "metadata"):
        raise InvalidInput(f"invalid local.differ: {differ[:60]!r}")
    return LocalSource(
        name=name,
        session=attrs.get("local.session", ""),
        unique=attrs.get("local.unique", ""),
        include=_patterns("local.includepattern", attrs),
        exclude=_patterns("local.excludepatterns", attrs),
        follow=_patterns("local.followpaths", attrs),
        shared_key_hint=attrs.get("local.sharedkeyhint", ""),
        differ=differ,
        metadata_only=_flag("local.metadatatransfer", attrs),
        metadata_exceptions=_patterns("local.metadatatransferexclude", attrs),
    )


def _patterns(key: str, attrs: Mapping[str, str]) -> tuple[str, ...]:
    text = attrs.get(key, "")
    if not text:
        return ()
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if value is not None and (not isinstance(value, list) or not all(isinstance(v, str) for v in value)):
        raise InvalidInput(f"{key} is not a JSON list of strings: {text[:100]!r}")
    if value is None and text.strip() != "null":
        raise InvalidInput(f"{key} is not a JSON list of strings: {text[:100]!r}")
    return tuple(value or ())


def _http(url: str, attrs: Mapping[str, str]) -> HttpSource:
    checksum = attrs.get("http.checksum", "")
    if checksum and not is_digest(checksum):
        raise InvalidInput(f"invalid http.checksum: {checksum[:100]!r}")
    asked = _signature_attrs("http.sig.", attrs, ("pubkey", "signature"))
    key, signature = attrs.get("http.sig.pubkey", ""), attrs.get("http.sig.signature", "")
    if asked and not (key and signature):  # a variable that was empty is no reason to check nothing
        raise InvalidInput("http signature verification requires both pubkey and signature")
    prefix = "http.header."
    headers = {k.removeprefix(prefix).lower(): v for k, v in attrs.items() if k.startswith(prefix)}
    # others are ignored, as BuildKit does: a client may not set arbitrary headers
    headers = {k: v for k, v in headers.items() if k in ("accept", "user-agent")}
    if any("\r" in v or "\n" in v for v in headers.values()):
        raise InvalidInput("invalid http header: line break in its value")
    return HttpSource(
        url=url,
        checksum=checksum,
        filename=_filename(attrs.get("http.filename", "")),
        auth_header_secret=attrs.get("http.authheadersecret", ""),
        headers=headers,
        public_key=_bytes(key),
        signature=_bytes(signature),
        **_ownership(attrs),
    )


def _filename(name: str) -> str:
    if "/" in name or "\0" in name or name in (".", "..") or len(name.encode()) > 255:
        raise InvalidInput(f"invalid http.filename {name[:100]!r}")
    return name


def _ownership(attrs: Mapping[str, str]) -> dict[str, int]:
    perm = attrs.get("http.perm", "")
    try:
        mode = int(perm, 8) if perm.startswith("0") and not perm.lower().startswith(("0x", "0o")) else int(perm or "0", 0)
    except ValueError:
        raise InvalidInput(f"invalid http.perm: {perm[:40]!r}") from None
    if not 0 <= mode <= 0o7777:
        raise InvalidInput(f"invalid http.perm: {perm[:40]!r}")
    owner = {k: _integer(f"http.{k}", attrs.get(f"http.{k}", "0")) for k in ("uid", "gid")}
    if any(not 0 <= v < 1 << 32 for v in owner.values()):
        raise InvalidInput(f"invalid http owner: {owner}")
    return {"perm": mode, **owner}


def _integer(what: str, text: str) -> int:
    try:
        return int(text, 10)
    except ValueError:
        raise InvalidInput(f"invalid {what}: {text[:40]!r}") from None


def _flag(key: str, attrs: Mapping[str, str]) -> bool:
    text = attrs.get(key, "")
    if text not in ("", "true", "false", "1", "0"):
        raise InvalidInput(f"invalid {key}: {text[:40]!r}")
    return text in ("true", "1")


def _git(rest: str, attrs: Mapping[str, str]) -> GitSource:
    bare, _, fragment = rest.partition("#")
    ref, _, subdir = fragment.partition(":")
    remote = attrs.get("git.fullurl", "") or (bare if "@" in bare.partition("/")[0] else f"https://{bare}")
    for what, text in (("git remote", remote), ("git ref", ref), ("git subdir", subdir)):
        if text.startswith("-") or any(c in text for c in "\0\n\r"):
            raise InvalidInput(f"invalid {what}: {text[:200]!r}")
    if ".." in subdir.split("/"):
        raise InvalidInput(f"invalid git subdir: {subdir[:200]!r}")
    mtime = attrs.get("git.mtime", "")
    if mtime not in ("", "checkout", "commit"):
        raise InvalidInput(f"invalid git.mtime: {mtime[:40]!r}")
    checksum = attrs.get("git.checksum", "")
    if checksum and (len(checksum) > 64 or any(c not in "0123456789abcdef" for c in checksum)):
        raise InvalidInput(f"invalid checksum {checksum[:100]} for Git URL, expected hex commit hash")
    return GitSource(
        remote=remote,
        ref=ref,
        subdir=subdir.strip("/"),
        keep_git_dir=_flag("git.keepgitdir", attrs),
        auth_header_secret=attrs.get("git.authheadersecret", "GIT_AUTH_HEADER"),
        auth_token_secret=attrs.get("git.authtokensecret", "GIT_AUTH_TOKEN"),
        known_hosts=attrs.get("git.knownsshhosts", ""),
        ssh_socket=attrs.get("git.mountsshsock", ""),
        checksum=checksum,
        skip_submodules=_flag("git.skipsubmodules", attrs),
        mtime=mtime,
        fetch_by_commit=_flag("git.fetchbycommit", attrs),
        bundle=attrs.get("git.bundle", ""),
        bundle_session=attrs.get("oci.session", ""),
        bundle_store=attrs.get("oci.store", ""),
        checkout_bundle=_flag("git.checkoutbundle", attrs),
        signature=_signature(attrs),
    )


def _signature(attrs: Mapping[str, str]) -> SignatureWish | None:
    """Once one of these is given there has to be a signature, also where the key was forgotten."""
    if not _signature_attrs("git.sig.", attrs, ("pubkey", "rejectexpired", "requiresignedtag", "ignoresignedtag")):
        return None
    return SignatureWish(
        public_key=_bytes(attrs.get("git.sig.pubkey", "")),
        reject_expired=attrs.get("git.sig.rejectexpired") == "true",
        require_tag=attrs.get("git.sig.requiresignedtag") == "true",
        ignore_tag=attrs.get("git.sig.ignoresignedtag") == "true",
    )


def _signature_attrs(prefix: str, attrs: Mapping[str, str], names: tuple[str, ...]) -> bool:
    """Whether there are any. Raises InvalidInput for others than these."""
    given = [key for key in attrs if key.startswith(prefix)]
    for key in given:
        if key.removeprefix(prefix) not in names:
            raise InvalidInput(f"unknown attribute {key[:60]!r}: a signature would not be checked as it is meant")
    return bool(given)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
