"""Paths of the platform that is built for (util/system/path.go). Windows paths lose their drive; results have slashes."""

from services.frontend.core.failure import DockerfileError
from shared.llb import clean_path, is_absolute, join_path
from shared.llb.go_text import quote


def normalize_path(parent: str, path: str, os: str, *, keep_slash: bool) -> str:
    """`path` below `parent`, absolute. Raises DockerfileError for a drive other than C:, and UNC paths."""
    path, parent = to_slash(path, os), to_slash(parent, os)
    given = path
    parent = driveless(parent or "/", os, keep_slash=keep_slash)
    parent = parent if is_absolute(parent) else join_path("/", parent)
    path = driveless(path or parent, os, keep_slash=keep_slash)
    if not is_absolute(path):
        path = join_path(parent, path)
    if keep_slash:
        if given.endswith("/") and not path.endswith("/"):
            path += "/"
        elif given.endswith("/."):
            path += "." if path == "/" else "/."
    return path


def normalize_workdir(current: str, path: str, os: str) -> str:
    """With the separators of the platform."""
    try:
        result = normalize_path(current, path, os, keep_slash=False)
    except DockerfileError as error:
        raise error.prefixed("normalizing working directory") from None
    return result.replace("/", "\\") if os == "windows" else result


def is_absolute_for(path: str, os: str) -> bool:
    try:
        return is_absolute(without_drive(path, os, keep_slash=False))
    except DockerfileError:
        return False


def to_slash(path: str, os: str) -> str:
    return path.replace("\\", "/") if os == "windows" else path


def driveless(path: str, os: str, *, keep_slash: bool) -> str:
    """`without_drive`, whose error says what was tried."""
    try:
        return without_drive(path, os, keep_slash=keep_slash)
    except DockerfileError as error:
        raise error.prefixed("removing drive letter") from None


def without_drive(path: str, os: str, *, keep_slash: bool) -> str:
    """Windows only: `C:` removed, backslashes turned, cleaned."""
    if os != "windows":
        return path
    if len(path) == 2 and path[1] == ":":
        raise DockerfileError(f"No relative path specified in {quote(path)}")
    if to_slash(path[:2], os) == "//":
        raise DockerfileError("UNC paths are not supported")
    drive, found, rest = path.partition(":")
    if found and drive.lower() != "c":
        raise DockerfileError("The specified path is not on the system drive (C:)")
    slashed = to_slash(rest if found else path, os)
    cleaned = clean_path(slashed)
    return cleaned + "/" if keep_slash and len(cleaned) > 1 and slashed.endswith("/") else cleaned
