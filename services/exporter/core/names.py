"""Image names of an export (exporter/containerimage/export.go, exporter/oci/export.go normalizedNames)."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.exporter.core.options import Options
from shared.errors import InvalidInput
from shared.model import Digest
from shared.oci import Reference, parse_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """`text` is what the client is told; `targets` are the names, one each."""

    text: str
    targets: tuple[str, ...]


def given_names(options: Options, metadata: Mapping[str, bytes]) -> str:
    """The `name` attribute; `*` takes the frontend's `image.name`."""
    if options.name == "*" and "image.name" in metadata:
        return metadata["image.name"].decode(errors="replace")
    return options.name


def image_names(options: Options, metadata: Mapping[str, bytes], digest: Digest) -> Named:
    """Names of the image exporter as given, a dangling name added where asked for."""
    text = given_names(options, metadata)
    if options.dangling_prefix and not (options.dangling_empty_only and text):
        dangling = f"{options.dangling_prefix}@{digest}"
        text = f"{text},{dangling}" if text else dangling
    return Named(text=text, targets=tuple(text.split(",")) if text else ())


def archive_names(options: Options, metadata: Mapping[str, bytes]) -> Named:
    """Names of an archive: normalized, with a tag. Raises InvalidInput naming the bad one."""
    text = given_names(options, metadata)
    if not text:
        return Named(text="", targets=())
    names = tuple(str(reference(name).with_default_tag()) for name in text.split(","))
    return Named(text=",".join(names), targets=names)


def reference(name: str) -> Reference:
    """The parsed name. Raises InvalidInput `failed to parse <name>: …`."""
    try:
        return parse_reference(name)
    except ValueError as e:
        raise InvalidInput(f"failed to parse {name[:200]}: {e}") from None


def push_target(name: str, *, by_digest: bool) -> Reference:
    """Where a name is pushed to. By digest: the bare repository; a tag is then an error (util/push/push.go)."""
    parsed = reference(name)
    if not by_digest:
        return parsed.with_default_tag()
    if parsed.tag:
        raise InvalidInput(f"can't push tagged ref {parsed} by digest")
    return parsed
