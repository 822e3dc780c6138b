"""Writes OCI image layouts, in plain Python and apart from the code under test, so that it can be its judge."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EPOCH = "1970-01-01T00:00:00Z"


class Tree:
    """An uncompressed layer in the making; all times are 0, owners 0:0, members in the order of the calls."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._bytes, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by done()

    def folder(self, path: str, mode: int = 0o755) -> "Tree":
        return self._add(path, tarfile.DIRTYPE, mode)

    def file(self, path: str, content: bytes | str, mode: int = 0o644) -> "Tree":
        data = content.encode() if isinstance(content, str) else content
        return self._add(path, tarfile.REGTYPE, mode, data=data)

    def link(self, path: str, target: str) -> "Tree":
        """A symbolic link."""
        return self._add(path, tarfile.SYMTYPE, 0o777, target=target)

    def hardlink(self, path: str, target: str) -> "Tree":
        return self._add(path, tarfile.LNKTYPE, 0o755, target=target)

    def done(self) -> bytes:
        self._tar.close()
        return self._bytes.getvalue()

    def _add(self, path: str, kind: bytes, mode: int, *, data: bytes = b"", target: str = "") -> "Tree":
        member = tarfile.TarInfo(path)
        member.type, member.mode, member.size, member.linkname = kind, mode, len(data), target
        self._tar.addfile(member, io.BytesIO(data))
        return self


class Layout:
    """An OCI layout folder. Blobs are written once; `tag` names a manifest in index.json."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self._index: list[dict[str, Any]] = []

    def blob(self, media_type: str, data: bytes) -> dict[str, Any]:
        """Stores bytes, returns their descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def json_blob(self, media_type: str, value: Any) -> dict[str, Any]:
        return self.blob(media_type, json.dumps(value, separators=(",", ":")).encode())

    def image(self, layers: Sequence[bytes], config: dict[str, Any] | None = None, *, arch: str = "amd64") -> dict[str, Any]:
        """An image of uncompressed layers; `config` is the part that containers see (Env, Cmd, …). Returns the manifest's descriptor."""
        diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
        image = {
            "architecture": arch,
            "os": "linux",
            "created": EPOCH,
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created": EPOCH, "created_by": "test kit"} for _ in layers],
        }
        packed = [self.blob(LAYER, gzip.compress(layer, compresslevel=1, mtime=0)) for layer in layers]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": self.json_blob(CONFIG, image), "layers": packed}
        return self.json_blob(MANIFEST, manifest)

    def index_of(self, manifests: Sequence[tuple[dict[str, Any], str]]) -> dict[str, Any]:
        """A multi-platform index of (manifest descriptor, architecture) pairs."""
        rows = [{**descriptor, "platform": {"os": "linux", "architecture": arch}} for descriptor, arch in manifests]
        return self.json_blob(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": rows})

    def tag(self, descriptor: dict[str, Any], name: str) -> None:
        self._index.append({**descriptor, "annotations": {"org.opencontainers.image.ref.name": name}})
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": self._index}))

    @staticmethod
    def digest(folder: Path, name: str) -> str:
        """The digest of what `name` tags in a layout."""
        index = json.loads((folder / "index.json").read_text())
        return next(str(row["digest"]) for row in index["manifests"] if row["annotations"]["org.opencontainers.image.ref.name"] == name)
