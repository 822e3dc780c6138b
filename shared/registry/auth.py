"""Tokens and passwords for one host (BuildKit util/resolver/authorizer.go; distribution spec, token authentication)."""

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from shared.errors import Denied, Unavailable
from shared.registry.challenge import Challenge, merged_scopes

_DEFAULT_LIFE, _LONGEST_LIFE = 60.0, 86400.0
_CLIENT_ID = "buildkit-client"
_MAX_TOKEN_ANSWER = 1 << 20
REMEMBERED = 1000


class AnyToken(Protocol):
    """What a token has to tell."""

    @property
    def text(self) -> str: ...

    @property
    def expires_in(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """`expires_in` seconds from now, 0 = not told."""

    text: str
    expires_in: float = 0.0


class Credentials(Protocol):
    """Who we are at a host. `identity` separates cached tokens of different askers."""

    @property
    def identity(self) -> str: ...

    async def fetch_token(self, host: str, *, realm: str, service: str, scopes: Sequence[str]) -> AnyToken | None:
        """A token that the client fetched for us; None when it leaves that to us."""
        ...

    async def login(self, host: str) -> tuple[str, str]:
        """(user name, secret); both empty = anonymous; an empty name with a secret = identity token."""
        ...


class Anonymous:
    """Nobody."""

    identity = ""

    async def fetch_token(self, host: str, *, realm: str, service: str, scopes: Sequence[str]) -> Token | None:
        """Never."""
        return None

    async def login(self, host: str) -> tuple[str, str]:
        """Nothing."""
        return "", ""


class Authorizer:
    """Answers challenges of hosts and remembers the answers. One per process; safe for concurrent use on one loop."""

    def __init__(self, http: Callable[[], Any], clock: Callable[[], float] = lambda: asyncio.get_running_loop().time()) -> None:
        self._http = http
        self._clock = clock
        self._tokens: dict[tuple[str, str, tuple[str, ...]], tuple[str, float]] = {}
        self._basic: dict[tuple[str, str], str] = {}
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def header(self, host: str, credentials: Credentials, scopes: Sequence[str]) -> str:
        """The Authorization header to begin with, "" when nothing is known."""
        basic = self._basic.get((host, credentials.identity))
        if basic:
            return basic
        token, until = self._tokens.get((host, credentials.identity, merged_scopes(scopes)), ("", 0.0))
        return f"Bearer {token}" if token and until > self._clock() else ""

    async def answer(self, host: str, challenge: Challenge, credentials: Credentials, scopes: Sequence[str], *, refused: str) -> str:
        """A header for this challenge. `refused` is the header that was just refused. Raises Denied when there is nothing better."""
        lock = self._locks.setdefault((host, credentials.identity), asyncio.Lock())
        async with lock:
            known = self.header(host, credentials, scopes)
            if known and known != refused:
                return known
            if challenge.scheme == "basic":
                return await self._answer_basic(host, credentials, refused)
            return await self._answer_bearer(host, challenge, credentials, scopes, refused)

    async def _answer_basic(self, host: str, credentials: Credentials, refused: str) -> str:
        user, secret = await credentials.login(host)
        header = "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()
        if not (user and secret) or header == refused:
            raise Denied(f"no basic auth credentials for {host}" if not secret else f"credentials for {host} were refused")
        self._basic[host, credentials.identity] = header
        while len(self._basic) > REMEMBERED:  # each build has its own
            del self._basic[next(iter(self._basic))]
        return header

    async def _answer_bearer(self, host: str, challenge: Challenge, credentials: Credentials, scopes: Sequence[str], refused: str) -> str:
        realm = challenge.params.get("realm", "")
        if urlsplit(realm).scheme not in ("http", "https"):
            raise Denied(f"{host} asks for a token from an unusable address: {realm[:200]!r}")
        if refused and challenge.params.get("error") == "insufficient_scope":
            raise Denied(f"{host}: insufficient_scope: authorization failed")
        service = challenge.params.get("service", "")
        # the challenge's own scope counts too: registries may ask for more than we think they do
        wanted = merged_scopes(scopes, challenge.params.get("scope", "").split())
        token: AnyToken | None = await credentials.fetch_token(host, realm=realm, service=service, scopes=wanted)
        if token is None:
            token = await self._fetch(host, realm, service, wanted, *await credentials.login(host))
        life = min(token.expires_in or _DEFAULT_LIFE, _LONGEST_LIFE) * 0.9
        self._tokens = {key: known for key, known in self._tokens.items() if known[1] > self._clock()}
        self._tokens[host, credentials.identity, merged_scopes(scopes)] = (token.text, self._clock() + life)
        return f"Bearer {token.text}"

    def statistics(self) -> dict[str, int]:
        """What is remembered, and who is being asked."""
        return {"tokens": len(self._tokens), "passwords": len(self._basic), "asking": len(self._locks)}

    async def _fetch(self, host: str, realm: str, service: str, scopes: Sequence[str], user: str, secret: str) -> Token:
        if secret and not user:
            return await self._post(host, realm, {"grant_type": "refresh_token", "refresh_token": secret}, service, scopes)
        headers = {}
        if secret:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()
        query = [("service", service)] * bool(service) + [("scope", s) for s in scopes]
        async with self._http().get(realm, params=query, headers=headers) as response:
            if response.status in (401, 404, 405) and secret:
                form = {"grant_type": "password", "username": user, "password": secret}
                return await self._post(host, realm, form, service, scopes)
            return _token(host, response.status, await response.content.read(_MAX_TOKEN_ANSWER))

    async def _post(self, host: str, realm: str, form: dict[str, str], service: str, scopes: Sequence[str]) -> Token:
        form = {**form, "client_id": _CLIENT_ID, "service": service, "scope": " ".join(scopes)}
        async with self._http().post(realm, data=form) as response:
            return _token(host, response.status, await response.content.read(_MAX_TOKEN_ANSWER))


def _token(host: str, status: int, body: bytes) -> Token:
    if status in (401, 403, 404, 405):
        raise Denied(f"failed to authorize: failed to fetch token for {host}: unexpected status {status}")
    try:
        value = json.loads(body) if status == 200 else None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Unavailable(f"failed to authorize: failed to fetch token for {host}: unexpected status {status}")
    text = value.get("token") or value.get("access_token") or ""
    if not isinstance(text, str) or not text:
        raise Unavailable(f"failed to authorize: no token in the answer for {host}")
    expires = value.get("expires_in")
    return Token(text=text, expires_in=float(min(expires, _LONGEST_LIFE)) if isinstance(expires, int | float) else 0.0)
