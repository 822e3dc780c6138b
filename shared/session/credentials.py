"""Registry credentials from the clients' sessions (moby.filesync.v1.Auth; BuildKit util/resolver/authorizer.go).

`SessionCredentials` is what shared.registry calls `Credentials`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import BuildmeshError, Code, SessionGone, Unsupported
from shared.pb import auth_pb2
from shared.session.ports import SessionLinks
from shared.session.unary import answers, unary

_SERVICE = "/moby.filesync.v1.Auth/"
_CLIENT_ID = "buildkit-client"
_KEY_SIZE = 32
_SALT = os.urandom(32)  # one per process, as the protocol wants


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionToken:
    """A token that the client fetched; `expires_in` seconds, 0 = not told."""

    text: str
    expires_in: float


class SessionCredentials:
    """Asks each session in turn; a session that is gone or serves no Auth counts as anonymous, and so does one that fails before others."""

    def __init__(self, links: SessionLinks, sessions: Sequence[str]) -> None:
        self._links = links
        self._sessions = tuple(sessions)
        self._authority: dict[tuple[str, str], bool] = {}

    @property
    def identity(self) -> str:
        """Tokens are never shared between different groups of sessions."""
        return ",".join(self._sessions)

    async def fetch_token(self, host: str, *, realm: str, service: str, scopes: Sequence[str]) -> SessionToken | None:
        """From the first session that fetches tokens itself; None when none does."""
        request = auth_pb2.FetchTokenRequest(ClientID=_CLIENT_ID, Host=host, Realm=realm, Service=service, Scopes=list(scopes))

        async def ask(session: str) -> SessionToken | None:
            if not await self._has_authority(session, host):
                return None
            answer = auth_pb2.FetchTokenResponse.FromString(await self._ask(session, "FetchToken", request.SerializeToString()))
            return SessionToken(text=answer.Token, expires_in=float(answer.ExpiresIn))

        async for token in answers(self._sessions, ask):
            if token is not None:
                return token
        return None

    async def login(self, host: str) -> tuple[str, str]:
        """(user, secret) of the first session that has a secret for the host; both empty = anonymous."""
        request = auth_pb2.CredentialsRequest(Host=host).SerializeToString()

        async def ask(session: str) -> tuple[str, str]:
            try:
                answer = auth_pb2.CredentialsResponse.FromString(await self._ask(session, "Credentials", request))
            except (SessionGone, Unsupported):
                return "", ""
            return answer.Username, answer.Secret

        async for user, secret in answers(self._sessions, ask):
            if secret:
                return user, secret
        return "", ""

    async def _has_authority(self, session: str, host: str) -> bool:
        key = (session, host)
        if key not in self._authority:
            request = auth_pb2.GetTokenAuthorityRequest(Host=host, Salt=_SALT).SerializeToString()
            try:
                answer = auth_pb2.GetTokenAuthorityResponse.FromString(await self._ask(session, "GetTokenAuthority", request))
                self._authority[key] = len(answer.PublicKey) == _KEY_SIZE
            except BuildmeshError as e:
                if e.status_code not in (Code.UNIMPLEMENTED, Code.UNAVAILABLE):
                    raise
                self._authority[key] = False
        return self._authority[key]

    async def _ask(self, session: str, method: str, request: bytes) -> bytes:
        return await unary(self._links, session, _SERVICE + method, request)
