"""Slash-separated paths as Go's package `path` treats them; digests depend on it."""


def clean_path(text: str) -> str:
    """path.Clean: the shortest equal path; "." for an empty one. Unlike posixpath it folds a leading `//`."""
    rooted = text.startswith("/")
    parts: list[str] = []
    for part in text.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            parts.append(part)
        elif parts and parts[-1] != "..":
            parts.pop()
        elif not rooted:
            parts.append(part)
    joined = "/".join(parts)
    return "/" + joined if rooted else joined or "."


def join_path(*parts: str) -> str:
    """path.Join: non-empty parts joined and cleaned; "" when all are empty."""
    given = [p for p in parts if p]
    return clean_path("/".join(given)) if given else ""


def base_path(text: str) -> str:
    """path.Base: the last element; "." for an empty path, "/" for only slashes."""
    if not text:
        return "."
    stripped = text.rstrip("/")
    return stripped.rpartition("/")[2] if stripped else "/"


def parent_path(text: str) -> str:
    """path.Dir: all but the last element, cleaned."""
    return clean_path(text.rpartition("/")[0] + "/") if "/" in text else "."


def is_absolute(text: str) -> bool:
    return text.startswith("/")
