"""ClientFiles over the client's session: FileSend/DiffCopy for one file (session/filesync), the content store `export` for layouts."""

from collections.abc import AsyncIterator, Mapping

from shared.errors import AlreadyExists, BuildmeshError, Code
from shared.model import Digest
from shared.session.content import write_blob
from shared.session.ports import SessionLinks

_METHOD = "/moby.filesync.v1.FileSend/DiffCopy"
_MAX_MESSAGE = 3 << 20  # the client's gRPC server refuses more than 4 MiB


class SessionFiles:
    """Sends to one client session."""

    def __init__(self, links: SessionLinks, session: str) -> None:
        self._links = links
        self._session = session

    async def send_file(self, exporter_id: int, metadata: Mapping[str, str], chunks: AsyncIterator[bytes]) -> None:
        """One file. AlreadyExists from the client means that it has the file: success."""
        headers = [("buildkit-attachable-exporter-id", str(exporter_id))]
        headers += [(f"exporter-md-{key.lower()}", value) for key, value in metadata.items()]
        try:
            async with self._links.open(self._session, _METHOD, metadata=headers) as stream:
                async for chunk in chunks:
                    for start in range(0, len(chunk), _MAX_MESSAGE):
                        await stream.send(_framed(chunk[start : start + _MAX_MESSAGE]))
                await stream.close_send()
                while await stream.receive():
                    pass
        except BuildmeshError as e:
            if not isinstance(e, AlreadyExists) and e.status_code is not Code.ALREADY_EXISTS:
                raise

    async def put_blob(self, digest: Digest, size: int, chunks: AsyncIterator[bytes]) -> None:
        """Into the client's content store `export`."""
        await write_blob(self._links, self._session, "export", digest, size, chunks)


def _framed(data: bytes) -> bytes:
    """A BytesMessage{data=1} in gRPC framing."""
    head = b"\x0a" + _varint(len(data))
    return b"\0" + (len(head) + len(data)).to_bytes(4, "big") + head + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
