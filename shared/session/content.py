"""The client's content stores (containerd.services.content.v1 over the session; BuildKit session/content).

Store ids: `export` (oci/docker output as a directory), `local:<dir>` (local cache), `oci:<name>` (oci-layout contexts).
"""

from collections.abc import AsyncIterator

from shared.errors import AlreadyExists, BuildmeshError, Code, Internal
from shared.model import Digest
from shared.pb import content_pb2
from shared.rpc.framing import MessageReader, frame
from shared.session.ports import SessionLinks

_SERVICE = "/containerd.services.content.v1.Content/"
_STORE = "buildkit-attachable-store-id"
_MAX_WRITE = 3 << 20  # the client's gRPC server refuses more than 4 MiB


async def write_blob(links: SessionLinks, session: str, store: str, digest: Digest, size: int, chunks: AsyncIterator[bytes]) -> None:
    """Write a whole blob; one that is there already is fine. `size` in bytes must be right."""
    ref = f"buildmesh-{digest}"
    try:
        async with links.open(session, _SERVICE + "Write", metadata=[(_STORE, store)]) as stream:
            first = content_pb2.WriteContentRequest(action=content_pb2.STAT, ref=ref, total=size, expected=digest)
            await stream.send(frame(first.SerializeToString()))
            offset = 0
            async for chunk in chunks:
                for start in range(0, len(chunk), _MAX_WRITE):
                    piece = chunk[start : start + _MAX_WRITE]
                    request = content_pb2.WriteContentRequest(action=content_pb2.WRITE, ref=ref, offset=offset, data=piece)
                    await stream.send(frame(request.SerializeToString()))
                    offset += len(piece)
            commit = content_pb2.WriteContentRequest(action=content_pb2.COMMIT, ref=ref, total=size, offset=offset, expected=digest)
            await stream.send(frame(commit.SerializeToString()))
            await stream.close_send()
            while await stream.receive():
                pass
    except BuildmeshError as e:
        if not isinstance(e, AlreadyExists) and e.status_code is not Code.ALREADY_EXISTS:
            raise


async def read_blob(links: SessionLinks, session: str, store: str, digest: Digest, *, offset: int = 0) -> AsyncIterator[bytes]:
    """The bytes of a blob from `offset`, unverified: the caller checks the digest. Raises NotFound."""
    request = content_pb2.ReadContentRequest(digest=digest, offset=offset)
    async with links.open(session, _SERVICE + "Read", metadata=[(_STORE, store)]) as stream:
        await stream.send(frame(request.SerializeToString()))
        await stream.close_send()
        reader = MessageReader()
        while chunk := await stream.receive():
            reader.feed(chunk)
            while (message := reader.next()) is not None:
                yield content_pb2.ReadContentResponse.FromString(message).data
        if reader.partial:
            raise Internal(f"blob {digest} of the client's store {store}: the answer breaks off")
