"""A step of several builds asks the sessions of all: what one client refuses, or never says, another one may give."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import pytest

from shared.errors import BuildmeshError, Denied, SessionGone, Unsupported
from shared.pb import auth_pb2, secrets_pb2
from shared.rpc.framing import frame
from shared.session import unary as unary_module
from shared.session.credentials import SessionCredentials
from shared.session.ports import SessionLinks
from shared.session.secrets import get_secret
from shared.session.unary import answers

ANSWERS = {
    "GetTokenAuthority": auth_pb2.GetTokenAuthorityResponse(PublicKey=b"k" * 32),
    "FetchToken": auth_pb2.FetchTokenResponse(Token="t", ExpiresIn=60),
    "Credentials": auth_pb2.CredentialsResponse(Username="me", Secret="s"),
    "GetSecret": secrets_pb2.GetSecretResponse(data=b"value"),
}


class Stream:
    def __init__(self, session: str, method: str) -> None:
        self._session, self._left = session, [frame(ANSWERS[method.rpartition("/")[2]].SerializeToString())]

    async def send(self, chunk: bytes) -> None: ...

    async def close_send(self) -> None: ...

    async def receive(self) -> bytes:
        match self._session:
            case "refuses":
                raise Denied("no")
            case "gone":
                raise SessionGone("gone")
            case "serves none":
                raise Unsupported("nothing")
            case "silent":
                await asyncio.Event().wait()
        return self._left.pop() if self._left else b""


class Links:
    @asynccontextmanager
    async def open(self, session: str, method: str, *, metadata: Sequence[tuple[str, str]] = ()) -> AsyncIterator[Stream]:
        yield Stream(session, method)


LINKS = cast(SessionLinks, Links())


@pytest.mark.parametrize("first", ["refuses", "gone", "serves none", "silent"])
async def test_the_next_client_is_asked(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unary_module.answers, "__defaults__", (0.05,))
    credentials = SessionCredentials(LINKS, (first, "good"))

    async with asyncio.timeout(5):
        token = await credentials.fetch_token("host", realm="r", service="s", scopes=())
        assert token is not None and token.text == "t"
        assert await credentials.login("host") == ("me", "s")
        assert await get_secret(LINKS, (first, "good"), "id") == b"value"


async def test_what_the_only_client_says_counts() -> None:
    credentials = SessionCredentials(LINKS, ("refuses",))
    for asking in (credentials.login("host"), credentials.fetch_token("host", realm="r", service="s", scopes=())):
        with pytest.raises(Denied):
            await asking
    with pytest.raises(Denied):
        await get_secret(LINKS, ("refuses",), "id")
    assert await SessionCredentials(LINKS, ("gone", "serves none")).login("host") == ("", "")
    assert await SessionCredentials(LINKS, ()).login("host") == ("", "")


async def test_the_last_one_has_all_the_time_it_wants() -> None:
    async def ask(session: str) -> str:
        await asyncio.sleep(0.05)
        return session

    assert [found async for found in answers(("one", "two"), ask, patience=0.01)] == ["two"]
    with pytest.raises(BuildmeshError):
        [found async for found in answers(("refuses",), _refused)]


async def _refused(session: str) -> str:
    raise Denied(session)
