"""Package URLs of images (util/purl/image.go): `pkg:docker/busybox@latest?platform=linux%2Famd64`."""

from urllib.parse import quote, quote_plus

from shared.model import Platform, format_platform
from shared.oci.reference import parse_reference

_PATH_SAFE = "$&+:=@~"
"""What Go's url.PathEscape leaves alone besides letters, digits and `-_.`."""


def image_purl(reference: str, platform: Platform | None = None, *, kind: str = "docker", **qualifiers: str) -> str:
    """`kind`: docker, or oci for a layout of the client. Raises ValueError for what is no reference."""
    named = parse_reference(reference)
    asked: dict[str, str] = {}
    if named.digest is not None:
        asked["digest"] = named.digest
    else:
        named = named.with_default_tag()
    if platform is not None:
        asked["platform"] = format_platform(platform.normalized())
    asked |= qualifiers
    name = "/".join(quote_plus(part, safe="~") for part in named.familiar_name.split("/"))
    version = "@" + quote(named.tag, safe=_PATH_SAFE) if named.tag else ""
    query = "&".join(f"{key}={quote(value, safe=_PATH_SAFE)}" for key, value in asked.items())
    return f"pkg:{kind}/{name}{version}" + (f"?{query}" if query else "")
