"""Layout of an image archive, entry by entry (containerd core/images/archive/exporter.go): sorted by name, fixed modes, no times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.exporter.core.image import Image
from shared.model import Digest
from shared.oci import Descriptor, Index, go_json, parse_manifest, parse_reference

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A member of the archive: a directory, inline `data`, or the blob `digest`."""

    name: str
    mode: int
    size: int = 0
    data: bytes | None = None
    digest: Digest | None = None
    directory: bool = False


def archive_entries(image: Image, root: Descriptor, names: Sequence[str], *, docker: bool) -> tuple[Entry, ...]:
    """All members in order; `docker` adds manifest.json."""
    blobs: dict[str, Entry] = {}
    for document in image.documents:
        blobs[_path(document.digest)] = Entry(name=_path(document.digest), mode=0o444, size=len(document.data), data=document.data)
    for layer in image.layers:
        blobs.setdefault(_path(layer.digest), Entry(name=_path(layer.digest), mode=0o444, size=layer.size, digest=layer.digest))
    index = index_json(root, names)
    files = [
        Entry(name="blobs/", mode=0o755, directory=True),
        Entry(name="blobs/sha256/", mode=0o755, directory=True),
        *blobs.values(),
        Entry(name="index.json", mode=0o644, size=len(index), data=index),
        Entry(name="oci-layout", mode=0o444, size=len(LAYOUT), data=LAYOUT),
    ]
    if docker:
        listing = _docker_manifest(image, root, names)
        files.append(Entry(name="manifest.json", mode=0o644, size=len(listing), data=listing))
    return tuple(sorted(files, key=lambda e: e.name))


def index_json(root: Descriptor, names: Sequence[str]) -> bytes:
    """index.json: one descriptor per name, or a single one without a name."""
    entries = [_named(root, name) for name in names] or [root.to_json()]
    return go_json({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries})


def _named(root: Descriptor, name: str) -> Mapping[str, object]:
    reference = parse_reference(name)
    annotations = {
        **root.annotations,
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": reference.tag or reference.digest,
    }
    return {**root.to_json(), "annotations": dict(sorted(annotations.items()))}


def _docker_manifest(image: Image, root: Descriptor, names: Sequence[str]) -> bytes:
    data = next(d.data for d in image.documents if d.digest == root.digest)
    manifest = parse_manifest(data, root.media_type)
    if isinstance(manifest, Index):  # one image with attestations beside it
        return _docker_manifest(image, manifest.manifests[0], names)
    tags = [_familiar(name) for name in names]
    entry = {
        "Config": _path(manifest.config.digest),
        "RepoTags": tags or None,
        "Layers": [_path(d.digest) for d in manifest.layers] or None,
    }
    return go_json([entry])


def _familiar(name: str) -> str:
    reference = parse_reference(name)
    return f"{reference.familiar_name}:{reference.tag}" if reference.tag else str(reference)


def _path(digest: Digest) -> str:
    algorithm, _, hexadecimal = digest.partition(":")
    return f"blobs/{algorithm}/{hexadecimal}"
