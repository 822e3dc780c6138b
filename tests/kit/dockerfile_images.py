"""Base images for Dockerfile cases: made in memory, the same bytes every time, so that digests can stand in golden files.

`fake_images()` is what FakeBridge takes; `push_all()` puts the same images into a registry for the real frontend.
"""

import gzip
import hashlib
import io
import json
import tarfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tests.kit.fake_bridge import FakeImage

_HISTORY = [
    {"created": "2024-01-02T03:04:05.600700000Z", "created_by": "/bin/sh -c #(nop) ADD file:x in / "},
    {"created": "2024-01-02T03:04:06+00:00", "created_by": 'CMD ["/bin/sh"]', "empty_layer": True},
]
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PLAIN: dict[str, Any] = {
    "created": "2024-01-02T03:04:06.123456789Z",
    "author": "me",
    "config": {"Env": [_PATH], "Cmd": ["/bin/sh"], "ArgsEscaped": True, "OnBuild": None},
    "history": _HISTORY,
    "container": "abc",
    "docker_version": "x",
}
_RICH: dict[str, Any] = {
    "WorkingDir": "/work",
    "User": "app:grp",
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/data": {}},
    "Entrypoint": ["/entry"],
    "StopSignal": "SIGQUIT",
    "Healthcheck": {"Test": ["CMD", "x"], "Interval": 30000000000},
    "Shell": ["/bin/bash", "-c"],
}
_TRIGGERS = ["COPY . /src", "RUN make", "ENV X=1", "COPY --from=busybox /bin/sh /b", "ARG Q=7"]
_ALL = ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386")
_OCI = "application/vnd.oci.image."


def _with_config(**config: Any) -> dict[str, Any]:
    return {**_PLAIN, "config": {**_PLAIN["config"], **config}}


_DEFINITIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "library/alpine:latest": (_ALL, _PLAIN),
    "library/busybox:latest": (("linux/amd64",), {**_PLAIN, "config": {"Cmd": ["sh"], "Labels": {"a": "b<c>&", "é": "ü"}}}),
    "library/debian:12": (_ALL, _with_config(**_RICH)),
    "library/onb:latest": (("linux/amd64",), _with_config(OnBuild=_TRIGGERS)),
    "library/golang:1.22-alpine": (_ALL, _with_config(Env=[_PATH, "GOPATH=/go"], WorkingDir="/go")),
    "library/empty:latest": (("linux/amd64",), {"config": {"Env": ["A=B"]}, "rootfs": {"type": "layers", "diff_ids": []}}),
    "library/winbase:latest": (
        ("windows/amd64",),
        {"os.version": "10.0.17763.1", "config": {"Env": ["X=y"], "Shell": ["powershell", "-Command"]}},
    ),
}


@dataclass(slots=True, kw_only=True)
class MadeImage:
    """`root` is what the tag names: a manifest, or an index of several. Blobs by digest."""

    root: bytes
    media_type: str
    manifests: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    configs: dict[str, bytes] = field(default_factory=dict)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("bin/sh")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"sh\n"))
    return out.getvalue()


def _make(platforms: tuple[str, ...], config: Mapping[str, Any]) -> MadeImage:
    image = MadeImage(root=b"", media_type=_OCI + "manifest.v1+json")
    entries = [_manifest(image, platform, config, only=len(platforms) == 1) for platform in platforms]
    if len(entries) == 1:
        image.root = next(iter(image.manifests.values()))
        return image
    image.media_type = _OCI + "index.v1+json"
    image.root = json.dumps({"schemaVersion": 2, "mediaType": image.media_type, "manifests": entries}).encode()
    return image


def _manifest(image: MadeImage, platform: str, config: Mapping[str, Any], *, only: bool) -> dict[str, Any]:
    parts = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
    raw = _layer()
    packed = gzip.compress(raw, mtime=0)
    doc = {**parts, "rootfs": {"type": "layers", "diff_ids": [digest(raw)]}, **config}
    layers = []
    if doc["rootfs"]["diff_ids"]:
        layers = [{"mediaType": _OCI + "layer.v1.tar+gzip", "digest": digest(packed), "size": len(packed)}]
        image.blobs[digest(packed)] = packed
    blob = json.dumps(doc, ensure_ascii=False).encode()
    image.blobs[digest(blob)] = blob
    image.configs["" if only else platform] = blob
    described = {"mediaType": _OCI + "config.v1+json", "digest": digest(blob), "size": len(blob)}
    media_type = _OCI + "manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media_type, "config": described, "layers": layers}).encode()
    image.manifests[digest(manifest)] = manifest
    return {"mediaType": media_type, "digest": digest(manifest), "size": len(manifest), "platform": parts}


@cache
def made_images() -> dict[str, MadeImage]:
    """By `repository:tag`."""
    return {name: _make(platforms, config) for name, (platforms, config) in _DEFINITIONS.items()}


def fake_images() -> dict[str, FakeImage]:
    """By normalized reference."""
    return {f"docker.io/{name}": FakeImage(digest=digest(image.root), configs=image.configs) for name, image in made_images().items()}


class InventedImages(dict[str, FakeImage]):
    """Images by normalized reference; what is asked for and not there is made up, and pushed into the registry at `url`."""

    def __init__(self, url: str) -> None:
        super().__init__(fake_images())
        self._url = url
        self._any = _make(_ALL, _with_config(WorkingDir="/w", User="me"))

    def get(self, name: str, default: Any = None) -> FakeImage:
        """Any name but a digest has an image."""
        if name not in self:
            _push(self._url, name.partition("/")[2], self._any)
            self[name] = FakeImage(digest=digest(self._any.root), configs=self._any.configs)
        return self[name]


def push_all(url: str) -> None:
    """Into the registry at `url` (http://host:port)."""
    for name, image in made_images().items():
        _push(url, name, image)


def _push(url: str, name: str, image: MadeImage) -> None:
    repository, _, tag = name.rpartition(":")
    for data in image.blobs.values():
        with _request("POST", f"{url}/v2/{repository}/blobs/uploads/", b"") as answer:
            location = answer.headers["Location"]
        separator = "&" if "?" in location else "?"
        _request("PUT", f"{location}{separator}digest={digest(data)}", data, "application/octet-stream").close()
    for key, data in (*image.manifests.items(), (tag, image.root)):
        kind = image.media_type if key == tag else _OCI + "manifest.v1+json"
        _request("PUT", f"{url}/v2/{repository}/manifests/{key}", data, kind).close()


def _request(method: str, url: str, data: bytes, content_type: str = "") -> Any:
    headers = {"Content-Type": content_type} if content_type else {}
    return urllib.request.urlopen(urllib.request.Request(url, data=data, method=method, headers=headers), timeout=30)
