"""What a result was made from: sources with what they were pinned to, secrets and agents that steps had, access to the network.

Source: solver/llbsolver/provenance/capture.go and the Capture methods of the source identifiers.
"""

from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from shared.llb import BuildOp, ExecOp, MountType, NetMode, Op, SourceOp
from shared.model import Platform
from shared.oci import parse_reference

MASK = "xxxxx"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """An image by the name it was asked for; `local`: from a layout of the client."""

    ref: str
    digest: str = ""
    platform: Platform | None = None
    local: bool = False


@dataclass(slots=True, kw_only=True)
class Sources:
    """Everything of one result. Blobs: (reference, of a layout of the client) → digest; git: `remote#ref` → commit; http: URL → digest;
    secrets and ssh: id → optional. `bundles`: (`remote#ref`, the blob that its objects came from).
    """

    images: list[ImageSource] = field(default_factory=list)
    blobs: dict[tuple[str, bool], str] = field(default_factory=dict)
    git: dict[str, str] = field(default_factory=dict)
    bundles: set[tuple[str, str]] = field(default_factory=set)
    http: dict[str, str] = field(default_factory=dict)
    local: set[str] = field(default_factory=set)
    secrets: dict[str, bool] = field(default_factory=dict)
    ssh: dict[str, bool] = field(default_factory=dict)
    network: bool = False
    incomplete: bool = False

    def add_image(self, image: ImageSource) -> None:
        """Once for each name and platform."""
        if not any(i.ref == image.ref and i.local == image.local and i.platform == image.platform for i in self.images):
            self.images.append(image)

    def add_git(self, url: str, commit: str, bundle: str = "") -> None:
        """The first commit of a URL counts."""
        self.git.setdefault(redacted(url), commit)
        if bundle:
            self.bundles.add((redacted(url), bundle))

    def add_http(self, url: str, digest: str) -> None:
        self.http.setdefault(redacted(url), digest)

    def add_secret(self, id: str, *, optional: bool) -> None:
        """Needed by one step = needed."""
        self.secrets[id] = self.secrets.get(id, True) and optional

    def add_ssh(self, id: str, *, optional: bool) -> None:
        id = id or "default"
        self.ssh[id] = self.ssh.get(id, True) and optional

    def merge(self, other: "Sources") -> None:
        """All that the other has."""
        for image in other.images:
            self.add_image(image)
        self.blobs = {**other.blobs, **self.blobs}
        self.git = {**other.git, **self.git}
        self.bundles |= other.bundles
        self.http = {**other.http, **self.http}
        self.local |= other.local
        for id, optional in other.secrets.items():
            self.add_secret(id, optional=optional)
        for id, optional in other.ssh.items():
            self.add_ssh(id, optional=optional)
        self.network |= other.network
        self.incomplete |= other.incomplete

    def named_images(self) -> list[ImageSource]:
        """By name; a digest is left out where the same repository and tag is there by tag."""
        tags = {_name_and_tag(i.ref) for i in self.images if "@" not in i.ref}
        kept = [i for i in self.images if "@" not in i.ref or _name_and_tag(i.ref) not in tags]
        return sorted(kept, key=lambda image: image.ref)


def _name_and_tag(ref: str) -> tuple[str, str]:
    parsed = parse_reference(ref)
    return parsed.name, parsed.tag or "latest"


def redacted(url: str) -> str:
    """The URL with user and password replaced by xxxxx; what is no URL stays."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url
    user, colon, _ = login.partition(":")
    masked = (MASK if user else "") + (":" + MASK if colon else "")
    return urlunsplit(parts._replace(netloc=f"{masked}@{host}")) if masked else url


def note(found: Sources, op: Op, pin: str) -> None:
    """Add what one op stands for; `pin` is what a source resolved to: a digest, or a commit."""
    match op.kind:
        case SourceOp() as source:
            _note_source(found, source, op.platform, pin)
        case ExecOp() as step:
            _note_exec(found, step)
        case BuildOp():
            found.incomplete = True  # what it loads is not looked into


def _note_source(found: Sources, source: SourceOp, platform: Platform | None, pin: str) -> None:
    rest = source.identifier.partition("://")[2]
    attrs = source.attrs
    match source.scheme:
        case "docker-image" | "oci-layout" as scheme:
            found.add_image(ImageSource(ref=rest, platform=platform, digest=pin, local=scheme == "oci-layout"))
        case "docker-image+blob" | "oci-layout+blob" as scheme:
            found.blobs.setdefault((rest, scheme.startswith("oci")), pin)
        case "local":
            found.local.add(rest)
        case "git":
            ref = rest.partition("#")[2].partition(":")[0]
            url = attrs.get("git.fullurl") or rest.partition("#")[0]
            found.add_git(url + (f"#{ref}" if ref else ""), pin, attrs.get("git.bundle", ""))
            for key in ("git.authtokensecret", "git.authheadersecret"):
                if attrs.get(key):
                    found.add_secret(attrs[key], optional=True)
            if attrs.get("git.mountsshsock"):
                found.add_ssh(attrs["git.mountsshsock"], optional=True)
        case "http" | "https":
            found.add_http(source.identifier, pin)


def _note_exec(found: Sources, step: ExecOp) -> None:
    for mount in step.mounts:
        if mount.type is MountType.SECRET and mount.secret is not None:
            found.add_secret(mount.secret.id, optional=mount.secret.optional)
        if mount.type is MountType.SSH and mount.ssh is not None:
            found.add_ssh(mount.ssh.id, optional=mount.ssh.optional)
    for secret in step.secret_env:
        found.add_secret(secret.id, optional=secret.optional)
    found.network |= step.network is not NetMode.NONE
