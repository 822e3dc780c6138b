"""Shows OCI layouts to the daemon, for `--build-context NAME=oci-layout://…` (BuildKit session/content; containerd.services.content.v1).

A layout is a folder with `index.json` and `blobs/<algorithm>/<hex>`, as `skopeo copy docker://… oci:FOLDER` makes it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import BinaryIO, Final

from google.protobuf.timestamp_pb2 import Timestamp

from shared.errors import InvalidInput, NotFound
from shared.model import is_digest
from shared.pb import content_pb2 as pb
from shared.rpc import Call, Handler, server_stream, unary

SCHEME: Final = "oci-layout://"
_SERVICE: Final = "/containerd.services.content.v1.Content/"
_STORE: Final = "buildkit-attachable-store-id"
_NAME: Final = "org.opencontainers.image.ref.name"
_CHUNK: Final = 1 << 20


def parse(text: str, option: str) -> tuple[str, str]:
    """`oci-layout://FOLDER[:TAG][@DIGEST]` → folder, and the digest that the tag (`latest`) names.

    Raises InvalidInput, which begins with `option` and the text.
    """
    place, _, digest = text.removeprefix(SCHEME).partition("@")
    folder, _, tag = place.partition(":")
    if digest and not is_digest(digest):
        raise InvalidInput(f"{option}{text}: invalid digest {digest[:100]!r}")
    try:
        return folder, digest or _named(Path(folder, "index.json"), tag or "latest")
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise InvalidInput(f"{option}{text}: {_why(error)}") from None


def _named(index: Path, tag: str) -> str:
    manifests = json.loads(index.read_bytes())["manifests"]
    for manifest in manifests:
        if manifest.get("annotations", {}).get(_NAME) == tag:
            return _checked(manifest["digest"])
    if len(manifests) == 1 and tag == "latest" and _NAME not in manifests[0].get("annotations", {}):
        return _checked(manifests[0]["digest"])
    raise LookupError(f'no image is called "{tag}" in {index}')


def _checked(digest: str) -> str:
    if not is_digest(digest):
        raise ValueError(f"invalid digest {str(digest)[:100]!r}")
    return digest


def _why(error: Exception) -> str:
    match error:
        case OSError():
            return f"{error.filename}: {error.strerror}"
        case KeyError() | TypeError():
            return "index.json is not that of an OCI layout"
        case _:
            return str(error)


class ImageLayouts:
    """`folders`: the store's name → the layout's folder. Read-only."""

    def __init__(self, folders: Mapping[str, str], *, threads: Executor) -> None:
        self._folders = {f"oci:{name}": folder for name, folder in folders.items()}
        self._threads = threads

    def routes(self) -> dict[str, Handler]:
        if not self._folders:
            return {}
        return {_SERVICE + "Info": unary(self._info, pb.InfoRequest), _SERVICE + "Read": server_stream(self._read, pb.ReadContentRequest)}

    async def _info(self, request: pb.InfoRequest, call: Call) -> pb.InfoResponse:
        with await self._open(request.digest, call) as file:
            epoch = Timestamp()  # the asker dereferences both times
            size = os.fstat(file.fileno()).st_size
            return pb.InfoResponse(info=pb.Info(digest=request.digest, size=size, created_at=epoch, updated_at=epoch))

    async def _read(self, request: pb.ReadContentRequest, call: Call) -> AsyncIterator[pb.ReadContentResponse]:
        """`size` 0 = to the end. Raises NotFound, InvalidInput for a range outside of the blob."""
        loop = asyncio.get_running_loop()
        with await self._open(request.digest, call) as file:
            size, offset = os.fstat(file.fileno()).st_size, request.offset
            end = offset + request.size if request.size else size
            if not 0 <= offset <= end <= size:
                raise InvalidInput(f"read of {request.digest} out of range: offset {offset}, size {request.size}")
            file.seek(offset)
            while offset < end:
                data = await loop.run_in_executor(self._threads, file.read, min(_CHUNK, end - offset))
                if not data:
                    return
                yield pb.ReadContentResponse(offset=offset, data=data)
                offset += len(data)

    async def _open(self, digest: str, call: Call) -> BinaryIO:
        store = call.metadata.get(_STORE, "")
        folder = self._folders.get(store)
        if folder is None:
            raise NotFound(f'no access allowed to content store "{store}"')
        if not is_digest(digest):
            raise InvalidInput(f"invalid digest: {digest[:100]!r}")
        path = os.path.join(folder, "blobs", *digest.split(":", 1))
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, open, path, "rb")
        except OSError as error:
            raise NotFound(f"content {digest}: {path}: {error.strerror}") from None
