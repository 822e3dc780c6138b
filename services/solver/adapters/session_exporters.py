"""The Exporter service of a client's session: outputs that it names once the result is there (session/exporter/exporter.proto)."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from google.protobuf.message import DecodeError

from shared.errors import InvalidInput, Unavailable, Unsupported
from shared.pb import session_exporter_pb2 as pb
from shared.session.ports import SessionLinks
from shared.session.unary import unary
from shared.wire.messages import TypedAttrs

_SERVICE: Final = "/moby.exporter.v1.Exporter/"
MOST: Final = 100
WITHIN: Final = 600.0
"""Seconds for an answer: the client may look into the result before."""


class SessionExporters:
    """Implements the port ClientExporters."""

    def __init__(self, links: SessionLinks) -> None:
        self._links = links

    async def find(self, session: str, metadata: Mapping[str, bytes], refs: Sequence[str]) -> tuple[TypedAttrs, ...]:
        request = pb.FindExportersRequest(metadata=metadata, refs=refs)
        answer = await self._ask(session, "FindExporters", request.SerializeToString())
        try:
            found = pb.FindExportersResponse.FromString(answer).exporters
        except DecodeError as error:
            raise InvalidInput(f"the client's session names exporters that can't be read: {error}") from None
        if len(found) > MOST:
            raise InvalidInput(f"the client's session names {len(found)} exporters, more than the allowed {MOST}")
        return tuple(TypedAttrs(type=exporter.Type, attrs=dict(exporter.Attrs)) for exporter in found)

    async def finalize(self, session: str, response: Mapping[str, str]) -> None:
        await self._ask(session, "FinalizeExport", pb.FinalizeExportRequest(exporter_response=response).SerializeToString())

    async def _ask(self, session: str, method: str, request: bytes) -> bytes:
        """Empty when the client has nothing to say to that."""
        try:
            async with asyncio.timeout(WITHIN):
                return await unary(self._links, session, _SERVICE + method, request)
        except (Unavailable, Unsupported):
            return b""
        except TimeoutError:
            raise Unavailable(f"the client's session did not answer {method} within {WITHIN:g} s") from None
