"""Raw commits and tags, their signatures, and who may have made these (util/gitutil/gitobject, gitsign; source/git verifyGitSignature)."""

import hashlib
from dataclasses import dataclass

from services.executor.core.signatures.openpgp import DetachedSignature, read_keys
from services.executor.core.signatures.sshsig import BEGIN as SSH
from services.executor.core.signatures.sshsig import check_ssh_signature, parse_ssh_signature
from shared.errors import BuildFailed

PGP = "-----BEGIN PGP SIGNATURE-----"
_NEEDED = {"commit": ("tree", "author", "committer"), "tag": ("object", "type", "tag", "tagger")}
_HASHES = {40: "sha1", 64: "sha256"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureWish:
    """`public_key`: armored OpenPGP keys, or a line of authorized_keys. A signed tag counts first unless `ignore_tag`."""

    public_key: bytes
    reject_expired: bool = False
    require_tag: bool = False
    ignore_tag: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GitObject:
    """`signature` "" = there is none; `signed` is what it covers."""

    kind: str
    raw: bytes
    signature: str
    signed: bytes

    def check_name(self, name: str) -> None:
        """Raises BuildFailed unless the object has this name."""
        if len(name) not in _HASHES:
            raise BuildFailed(f"unsupported sha length {len(name)}")
        data = f"{self.kind} {len(self.raw)}\0".encode() + self.raw
        found = hashlib.new(_HASHES[len(name)], data, usedforsecurity=False).hexdigest()
        if found != name:
            raise BuildFailed(f"{self.kind} object checksum verification failed: checksum mismatch: expected {name}, got {found}")


def parse_object(raw: bytes) -> GitObject:
    """A commit or a tag. Raises BuildFailed."""
    kind = "tag" if raw.startswith(b"object ") else "commit"
    head, _, message = raw.partition(b"\n\n")
    lines = head.split(b"\n")
    names = {line.partition(b" ")[0].decode("latin-1") for line in lines}
    for needed in _NEEDED[kind]:
        if needed not in names:
            raise BuildFailed(f"failed to parse git {kind} object: invalid {kind} object: missing {needed} header")
    if kind == "tag":
        return _tag(raw, message)
    kept: list[bytes] = []
    signature: list[str] = []
    inside = False
    for line in lines:
        name, _, rest = line.partition(b" ")
        if name in (b"gpgsig", b"gpgsig-sha256"):
            inside = True
            signature.append(rest.decode("latin-1"))
        elif inside and line.startswith(b" "):
            signature.append(line[1:].decode("latin-1"))
        else:
            inside = False
            kept.append(line)
    return GitObject(kind=kind, raw=raw, signature="\n".join(signature), signed=b"\n".join(kept) + b"\n\n" + message)


def _tag(raw: bytes, message: bytes) -> GitObject:
    """Its signature stands at the end of the message."""
    start = len(raw) - len(message)
    lines = message.split(b"\n")
    for number, line in enumerate(lines):
        if line.decode("latin-1") in (PGP, SSH):
            before = sum(len(previous) + 1 for previous in lines[:number])
            return GitObject(kind="tag", raw=raw, signature=message[before:].decode("latin-1"), signed=raw[: start + before])
    return GitObject(kind="tag", raw=raw, signature="", signed=raw)


def check_signature(found: GitObject, wish: SignatureWish, *, now: int) -> None:
    """Raises BuildFailed unless the object is signed by the key. `now` in seconds since the epoch."""
    if not found.signature:
        raise BuildFailed("git object is not signed")
    if found.signature.startswith(SSH):
        check_ssh_signature(parse_ssh_signature(found.signature), found.signed, wish.public_key, namespace="git")
        return
    if not found.signature.startswith(PGP):
        raise BuildFailed("invalid signature format")
    signature = DetachedSignature(found.signature.encode("latin-1"))
    signature.update(found.signed)
    signature.check(read_keys(wish.public_key), now=now, reject_expired=wish.reject_expired)


def check_objects(wish: SignatureWish, *, checksum: str, commit: str, commit_object: bytes, tag_object: bytes, now: int) -> None:
    """The tag's signature, else the commit's. `commit` "" = `checksum` is the commit. Raises BuildFailed."""
    refused: BuildFailed | None = None
    if tag_object and not wish.ignore_tag:
        tag = parse_object(tag_object)
        tag.check_name(checksum)
        try:
            check_signature(tag, wish, now=now)
            return
        except BuildFailed as error:
            refused = error
    if wish.require_tag:
        raise refused or BuildFailed("signed tag required but no signed tag found")
    found = parse_object(commit_object)
    found.check_name(commit or checksum)
    check_signature(found, wish, now=now)
