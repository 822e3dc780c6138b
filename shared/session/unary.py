"""One question, one answer on a client's session."""

from collections.abc import Sequence

from shared.errors import Internal
from shared.rpc.framing import MessageReader, frame
from shared.session.ports import SessionLinks


async def unary(links: SessionLinks, session_id: str, method: str, request: bytes, *, metadata: Sequence[tuple[str, str]] = ()) -> bytes:
    """Call `method` with the marshaled `request`; the marshaled answer. Raises the peer's error, SessionGone, Unsupported."""
    reader = MessageReader()
    async with links.open(session_id, method, metadata=metadata) as stream:
        await stream.send(frame(request))
        await stream.close_send()
        while chunk := await stream.receive():
            reader.feed(chunk)
    answer = reader.next()
    if answer is None or reader.partial:
        raise Internal(f"malformed answer to {method}")
    return answer
