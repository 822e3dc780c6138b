"""Names, keys and headers of http sources (source/http/source.go)."""

import hashlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urlsplit

from services.executor.core.source_ids import HttpSource
from shared.oci import go_json


def url_key(source: HttpSource) -> str:
    """What remembered ETags are kept under; never leaves this executor."""
    parts = (source.url, source.filename, str(source.perm), str(source.uid), str(source.gid), source.auth_header_secret)
    text = "\0".join((*parts, *(f"{k}={v}" for k, v in sorted(source.headers.items()))))
    return hashlib.sha256(text.encode()).hexdigest()


def cache_key(source: HttpSource, filename: str, digest: str, last_modified: int) -> str:
    """The source's own key; `last_modified` in seconds, 0 = not known (a pinned checksum asks nobody)."""
    value: dict[str, object] = {
        "Filename": filename,
        "Perm": source.perm,
        "UID": source.uid,
        "GID": source.gid,
        "Checksum": digest,
    }
    if last_modified:
        value["LastModTime"] = datetime.fromtimestamp(last_modified, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    if source.auth_header_secret:
        value["AuthHeaderSecret"] = source.auth_header_secret
    if source.headers:
        names = {"accept": "Accept", "user-agent": "User-Agent"}
        value["Header"] = [{"Name": names[k], "Value": v} for k, v in sorted(source.headers.items())]
    return "sha256:" + hashlib.sha256(go_json(value)).hexdigest()


def file_name(source: HttpSource, disposition: str = "") -> str:
    """The attribute, Content-Disposition's file name, the URL's last element, or `download`."""
    for name in (source.filename, _disposition_name(disposition), urlsplit(source.url).path.rsplit("/", 1)[-1]):
        clean = unquote(name) if name != source.filename else name
        if clean and clean not in (".", "..") and "/" not in clean and "\0" not in clean and len(clean.encode()) <= 255:
            return clean
    return "download"


def _disposition_name(header: str) -> str:
    for part in header.split(";")[1:]:
        key, _, value = part.strip().partition("=")
        if key.lower() == "filename":
            return value.strip().strip('"').rsplit("/", 1)[-1]
    return ""


def parse_http_time(text: str) -> int:
    """Seconds since the epoch, 0 for what is no date."""
    try:
        return max(0, int(parsedate_to_datetime(text).timestamp())) if text else 0
    except (ValueError, TypeError, OverflowError):
        return 0
