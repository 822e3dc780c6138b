"""containerd.services.content.v1.Content over the blob store, for reading only (BuildKit control/control.go roContentStore)."""

from collections.abc import AsyncIterator, Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from shared.blobs.ports import Blobs
from shared.errors import BlobMissing, BuildFailed, InvalidInput, NotFound
from shared.model import Digest, is_digest
from shared.pb import content_pb2 as pb
from shared.rpc import Call, Handler, server_stream, unary

SERVICE = "/containerd.services.content.v1.Content/"
_PAGE = 500
_CHUNK = 1 << 20
_WRITES = ("Update", "Delete", "Write", "Abort")


class Content:
    """The servicer."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def routes(self) -> Mapping[str, Handler]:
        """Every method; those that would change something refuse."""
        return {
            SERVICE + "Info": unary(self.info, pb.InfoRequest),
            SERVICE + "List": server_stream(self.list, pb.ListContentRequest),
            SERVICE + "Read": server_stream(self.read, pb.ReadContentRequest),
            SERVICE + "Status": unary(self.status, pb.StatusRequest),
            SERVICE + "ListStatuses": unary(self.list_statuses, pb.ListStatusesRequest),
            **{SERVICE + name: _refuse for name in _WRITES},
        }

    async def info(self, request: pb.InfoRequest, call: Call) -> pb.InfoResponse:
        """Size of a blob. Raises NotFound."""
        digest = _digest(request.digest)
        try:
            async with self._blobs.open(digest) as reader:
                return pb.InfoResponse(info=_info(digest, reader.size))
        except BlobMissing as error:
            raise NotFound(f"content {digest}: not found") from error

    async def list(self, request: pb.ListContentRequest, call: Call) -> AsyncIterator[pb.ListContentResponse]:
        """Every blob, in pages. Filters are not supported and must be empty."""
        if request.filters:
            raise InvalidInput("filters on content are not supported")
        page: list[pb.Info] = []
        async for digest, size in self._blobs.walk():
            page.append(_info(digest, size))
            if len(page) == _PAGE:
                yield pb.ListContentResponse(info=page)
                page = []
        if page:
            yield pb.ListContentResponse(info=page)

    async def read(self, request: pb.ReadContentRequest, call: Call) -> AsyncIterator[pb.ReadContentResponse]:
        """`size` 0 = to the end. Raises InvalidInput for a range outside of the blob."""
        digest, offset = _digest(request.digest), request.offset
        try:
            async with self._blobs.open(digest) as reader:
                if offset < 0 or request.size < 0 or offset + request.size > reader.size:
                    raise InvalidInput(f"read of {digest} out of range: offset {offset}, size {request.size}")
                end = offset + request.size if request.size else reader.size
                while offset < end:
                    data = await reader.read_at(offset, min(_CHUNK, end - offset))
                    if not data:
                        return
                    yield pb.ReadContentResponse(offset=offset, data=data)
                    offset += len(data)
        except BlobMissing as error:
            raise NotFound(f"content {digest}: not found") from error

    async def status(self, request: pb.StatusRequest, call: Call) -> pb.StatusResponse:
        """Nothing is ever being written here."""
        raise NotFound(f"no such ingest: {request.ref[:100]}")

    async def list_statuses(self, request: pb.ListStatusesRequest, call: Call) -> pb.ListStatusesResponse:
        """None."""
        return pb.ListStatusesResponse()


def _info(digest: str, size: int) -> pb.Info:
    epoch = Timestamp()  # clients dereference both times
    return pb.Info(digest=digest, size=size, created_at=epoch, updated_at=epoch)


def _digest(text: str) -> Digest:
    if not is_digest(text):
        raise InvalidInput(f"invalid digest: {text[:100]!r}")
    return Digest(text)


async def _refuse(call: Call) -> None:
    raise BuildFailed("read-only content store")
