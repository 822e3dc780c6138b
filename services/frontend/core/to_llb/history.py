"""History entries of the image config (dockerfile2llb/convert.go commitToHistory)."""

from datetime import UTC, datetime

from services.frontend.core.image import HistoryEntry, Image

_COMMENT = "buildkit.dockerfile.v0"


def commit(image: Image, text: str, epoch: int | None, *, layer: bool = False, marked: bool = False) -> None:
    """Adds an entry. `layer`: the step made one; `marked`: written with the ` # buildkit` that scanners look for."""
    created = rfc3339(epoch) if epoch is not None else ""
    text += " # buildkit" if marked else ""
    image.history.append(HistoryEntry(created=created, created_by=text, comment=_COMMENT, empty_layer=not layer))


def rfc3339(seconds: int) -> str:
    """A time in seconds since the epoch as text."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return ""
