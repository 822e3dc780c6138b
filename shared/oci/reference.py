"""Image references and their normal form (distribution reference grammar; `busybox` = `docker.io/library/busybox:latest`)."""

import re
from dataclasses import dataclass

from shared.model import Digest, is_digest

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[\w][\w.-]{0,127}", re.ASCII)
_HEX_ID = re.compile(r"[a-f0-9]{64}")
_MAX_NAME = 255
_DOCKER = "docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A normalized reference: always a domain, `library/` filled in for docker.io. Tag and digest may both be there, or neither."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """`docker.io/library/busybox`: the repository with its domain."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """`busybox`: as people write it."""
        if self.domain != _DOCKER:
            return self.name
        return self.path.removeprefix("library/") if self.path.count("/") == 1 else self.path

    @property
    def object(self) -> str:
        """What to ask the registry for: the digest if any, else the tag. Empty when neither is given."""
        return self.digest or self.tag

    def with_default_tag(self) -> "Reference":
        """Itself, or with `latest` where neither tag nor digest is given."""
        return self if self.object else Reference(domain=self.domain, path=self.path, tag="latest")

    def with_digest(self, digest: Digest) -> "Reference":
        """The same repository and tag, pinned."""
        return Reference(domain=self.domain, path=self.path, tag=self.tag, digest=digest)

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str) -> Reference:
    """Normalize `text`. Raises ValueError `invalid reference format…` with the text named.

    Source of the rules: distribution/reference (splitDockerDomain, ParseNormalizedNamed). No tag is added.
    """
    if _HEX_ID.fullmatch(text):
        raise ValueError(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    rest, _, digest = text.partition("@")
    if "@" in text and not is_digest(digest):
        raise ValueError(f"invalid reference format: {text[:300]!r} (digest)")
    domain, remainder = _split_domain(rest)
    path, colon, tag = remainder.partition(":")
    if path != path.lower():
        raise ValueError(f"invalid reference format: repository name ({path[:300]}) must be lowercase")
    if _DOMAIN.fullmatch(domain) is None or _PATH.fullmatch(path) is None or (colon and _TAG.fullmatch(tag) is None):
        raise ValueError(f"invalid reference format: {text[:300]!r}")
    if len(domain) + 1 + len(path) > _MAX_NAME:
        raise ValueError(f"invalid reference: repository name must not be more than {_MAX_NAME} characters")
    return Reference(domain=domain, path=path, tag=tag, digest=Digest(digest) if digest else None)


def _split_domain(text: str) -> tuple[str, str]:
    head, slash, tail = text.partition("/")
    if not slash or not ("." in head or ":" in head or head == "localhost" or head.lower() != head):
        domain, remainder = _DOCKER, text
    else:
        domain, remainder = head, tail
    if domain == "index.docker.io":
        domain = _DOCKER
    if domain == _DOCKER and "/" not in remainder:
        remainder = "library/" + remainder
    return domain, remainder
