"""Secrets of the clients (moby.buildkit.secrets.v1; BuildKit session/secrets). Values never leave the memory of whoever asked."""

from collections.abc import Sequence

from shared.errors import BuildmeshError, Code, NotFound, SessionGone, Unsupported
from shared.pb import secrets_pb2
from shared.session.ports import SessionLinks
from shared.session.unary import answers, unary

_METHOD = "/moby.buildkit.secrets.v1.Secrets/GetSecret"
MAX_SECRET = 500 << 10


async def get_secret(links: SessionLinks, sessions: Sequence[str], id: str) -> bytes:
    """The value, from the first session that has it. Raises NotFound `secret <id>: not found` (an empty secret is a value)."""
    request = secrets_pb2.GetSecretRequest(ID=id).SerializeToString()

    async def ask(session: str) -> bytes | None:
        try:
            answer = secrets_pb2.GetSecretResponse.FromString(await unary(links, session, _METHOD, request))
        except (NotFound, Unsupported, SessionGone):
            return None
        except BuildmeshError as e:
            if e.status_code not in (Code.NOT_FOUND, Code.UNIMPLEMENTED):
                raise
            return None
        return bytes(answer.data)

    async for value in answers(sessions, ask):
        if value is None:
            continue
        if len(value) > MAX_SECRET:
            raise NotFound(f"secret {id}: larger than {MAX_SECRET} bytes")
        return value
    raise NotFound(f"secret {id}: not found")
