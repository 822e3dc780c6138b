"""ADD of something remote (dockerfile2llb/convert_copy.go)."""

from urllib.parse import unquote, urlsplit

from services.frontend.core.failure import DockerfileError
from services.frontend.core.git_url import GitRef, git_state, parse_git_ref
from shared.llb import Constraints, State, base_path, http_source
from shared.llb.go_text import quote
from shared.model import is_digest


def is_http(source: str) -> bool:
    """A URL that is no git repository."""
    if not source.startswith(("http://", "https://")):
        return False
    try:
        return parse_git_ref(source) is None
    except DockerfileError:
        return True


def http_filename(source: str) -> str:
    """The last element of the URL's path."""
    try:
        base = base_path(unquote(urlsplit(source).path))
    except ValueError:
        return "__unnamed__"
    return "__unnamed__" if base in (".", "/") else base


def http_add(source: str, name: str, checksum: str) -> tuple[State, str]:
    """The download and the name of its file. Raises DockerfileError for a malformed checksum."""
    if checksum:
        check_digest(checksum)
    constraints = Constraints(description={"com.docker.dockerfile.v1.command": "", "llb.customname": name})
    filename = http_filename(source)
    return http_source(source, constraints, filename=filename, checksum=checksum), filename


def check_digest(text: str) -> None:
    """Raises DockerfileError with go-digest's words."""
    if is_digest(text):
        return
    algorithm, found, encoded = text.partition(":")
    if not found or not encoded:
        raise DockerfileError("invalid checksum digest format")
    if algorithm not in ("sha256", "sha384", "sha512"):
        raise DockerfileError("unsupported digest algorithm")
    length = {"sha256": 64, "sha384": 96, "sha512": 128}[algorithm]
    raise DockerfileError("invalid checksum digest length" if len(encoded) != length else "invalid checksum digest format")


def git_add(ref: GitRef, name: str, *, keep_git_dir: bool | None, checksum: str) -> State:
    """The checkout. Flags of the instruction and parameters of the URL must not contradict each other."""
    if keep_git_dir is not None and ref.keep_git_dir is not None and keep_git_dir != ref.keep_git_dir:
        raise DockerfileError("inconsistent keep-git-dir configuration")
    if checksum and ref.checksum and checksum != ref.checksum:
        raise DockerfileError(f"checksum mismatch {quote(checksum)} != {quote(ref.checksum)}")
    keep = ref.keep_git_dir if ref.keep_git_dir is not None else keep_git_dir
    constraints = Constraints(description={"llb.customname": name})
    return git_state(ref, constraints, keep_git_dir=keep is True, checksum=ref.checksum or checksum)
