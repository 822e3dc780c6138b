"""What a client uploads itself: Dockerfile or context from its standard input (moby.upload.v1; BuildKit session/upload)."""

from collections.abc import AsyncIterator

from shared.errors import Internal
from shared.pb import upload_pb2
from shared.rpc.framing import MessageReader
from shared.session.ports import SessionLinks

_METHOD = "/moby.upload.v1.Upload/Pull"


async def pull_upload(links: SessionLinks, session: str, *, host: str, path: str) -> AsyncIterator[bytes]:
    """The bytes. A client serves each upload once. Raises the client's error."""
    reader = MessageReader()
    async with links.open(session, _METHOD, metadata=[("urlpath", path), ("urlhost", host)]) as stream:
        await stream.close_send()
        while chunk := await stream.receive():
            reader.feed(chunk)
            while (message := reader.next()) is not None:
                yield upload_pb2.BytesMessage.FromString(message).data
        if reader.partial:
            raise Internal(f"upload {path[:100]!r} breaks off")
