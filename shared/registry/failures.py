"""What goes wrong on the wire of an HTTP request, in words and as an error of our tree. Nobody else names aiohttp's errors for that."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Unavailable

__all__ = ["request_failure", "wire_failures"]


def request_failure(error: Exception) -> str:
    """What went wrong on the wire, in words. aiohttp's own text of a failed connection shows an object and its address in memory."""
    host, port = getattr(error, "host", ""), getattr(error, "port", "")
    reason = getattr(error, "os_error", None) or getattr(error, "certificate_error", None)
    if reason is None:
        return str(error) or type(error).__name__
    return f"cannot connect to {host}:{port}: {getattr(reason, 'strerror', None) or reason}"


@contextmanager
def wire_failures(doing: str = "", kind: type[Unavailable] = Unavailable) -> Iterator[None]:
    """Raises `kind` with `doing: why` where a request, or the reading of its answer, fails on the way."""
    import aiohttp

    try:
        yield
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        why = request_failure(error)
        raise kind(f"{doing}: {why}" if doing else why) from None
