"""HTTP to registries: one connection pool per process, authorized, retried, bounded per host and asker.

Retries as BuildKit (util/resolver/retryhandler/retry.go): on 5xx, 429 and broken connections after 1, 2 and 4 s, or as Retry-After says:
until then nothing else is asked of that host either, whoever wants it.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from shared.errors import Denied, NotFound, Unavailable
from shared.registry.auth import Authorizer, Credentials
from shared.registry.challenge import parse_challenges
from shared.registry.failures import wire_failures
from shared.registry.hosts import Endpoint, HostConfig

RETRY_WAITS = (1.0, 2.0, 4.0)
MAX_RETRY_AFTER = 60.0
PER_HOST = 4
USER_AGENT = "buildmesh/0.1 buildkit/v0.32.2"

OnRetry = Callable[[str], None]


class _Failed(Unavailable):
    """A try that failed on the wire; another may follow."""


class HttpPool:
    """The process' connections. `async with` it; aiohttp is imported on first use."""

    def __init__(self) -> None:
        self._session: Any = None
        self._contexts: dict[tuple[bool, HostConfig], ssl.SSLContext] = {}
        self._slots: WeakValueDictionary[tuple[str, str], asyncio.Semaphore] = WeakValueDictionary()
        self._rests: dict[str, float] = {}
        self.told_to_rest: Callable[[str, float], None] = lambda host, seconds: None  # what a host has said, for others
        self.authorizer = Authorizer(self.http)

    def http(self) -> Any:
        """The aiohttp session."""
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                trust_env=True,
                auto_decompress=False,
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=300),
            )
        return self._session

    def rest(self, host: str, seconds: float) -> None:
        """Ask nothing of `host` for so long, but at most `MAX_RETRY_AFTER`: registries count by account, and others have another one."""
        now, seconds = time.monotonic(), min(seconds, MAX_RETRY_AFTER)
        self._rests = {known: until for known, until in self._rests.items() if until > now}
        self._rests[host] = max(now + seconds, self._rests.get(host, 0.0))

    def resting(self, host: str) -> float:
        """Seconds for which `host` does not want to be asked."""
        return max(0.0, self._rests.get(host, 0.0) - time.monotonic())

    def slots(self, host: str, credentials: Credentials) -> asyncio.Semaphore:
        """Blob transfers at a time with one host. Each asker has his own: a client may never answer when its password is asked."""
        return self._slots.setdefault((host, credentials.identity), asyncio.Semaphore(PER_HOST))

    def tls(self, endpoint: Endpoint) -> ssl.SSLContext:
        """The endpoint's verification and client certificates. Raises Unavailable naming a file that can't be read."""
        key = (endpoint.skip_verify, endpoint.tls)
        if key not in self._contexts:
            self._contexts[key] = _tls_context(endpoint)
        return self._contexts[key]

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """On whose behalf: credentials and where retries are told."""

    credentials: Credentials
    on_retry: OnRetry | None = None


class HostClient:
    """Requests to one endpoint. Paths are below its API root."""

    def __init__(self, pool: HttpPool, endpoint: Endpoint, asker: Asker) -> None:
        self._pool = pool
        self._endpoint = endpoint
        self._asker = asker
        self._scheme = endpoint.schemes[0]

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        scopes: Sequence[str],
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Any] | None = None,
        params: Mapping[str, str] | None = None,
        retry: bool = True,
    ) -> AsyncIterator[Any]:
        """The response, whatever its status below 500 (except 401, which is answered, and 429). `body()` makes the body anew per try.

        `path` may be a whole URL (upload locations): credentials then go along only to the same host.
        Raises Denied, Unavailable.
        """
        response = await self._with_retries(method, path, scopes, dict(headers or {}), body, dict(params or {}), retry)
        try:
            yield response
        finally:
            response.release()

    async def _with_retries(
        self, method: str, path: str, scopes: Sequence[str], headers: dict[str, str], body: Any, params: dict[str, str], retry: bool
    ) -> Any:
        failure = ""
        for wait in (*RETRY_WAITS, None) if retry else (None,):
            await self._rested()
            try:
                with wire_failures(kind=_Failed):
                    response = await self._authorized(method, path, scopes, headers, body, params)
                if response.status < 500 and response.status != 429:
                    return response
                failure = f"unexpected status {response.status} from {method} request to {response.url.with_query(None)}"
                asked = retry_after(response.headers.get("Retry-After", ""))
                response.release()
                if asked is not None:
                    self._pool.rest(self._endpoint.host, asked)
                    self._pool.told_to_rest(self._endpoint.host, asked)
                    wait = None if wait is None else asked
            except _Failed as error:
                failure = f"failed to do request: {method} {self._url(path)}: {error.message}"
            if wait is None or wait > MAX_RETRY_AFTER:
                break
            if self._asker.on_retry is not None:
                self._asker.on_retry(f"error: {failure}\nretrying in {wait:g}s")
            await asyncio.sleep(wait)
        raise Unavailable(failure)

    async def _rested(self) -> None:
        """Until the host wants to be asked again; not for ever: who is told so again and again may be another account."""
        until = time.monotonic() + MAX_RETRY_AFTER
        while (seconds := min(self._pool.resting(self._endpoint.host), until - time.monotonic())) > 0:  # noqa: ASYNC110 (nothing tells it)
            await asyncio.sleep(seconds)

    async def _authorized(
        self, method: str, path: str, scopes: Sequence[str], headers: dict[str, str], body: Any, params: dict[str, str]
    ) -> Any:
        host, authorizer = self._endpoint.host, self._pool.authorizer
        known = authorizer.header(host, self._asker.credentials, scopes)
        response = await self._send(method, path, headers, known, body, params)
        if response.status != 401:
            return response
        challenges = parse_challenges(response.headers.getall("WWW-Authenticate", []))
        response.release()
        if not challenges:
            raise Denied(f"{host}: unauthorized, and it does not say how to authenticate")
        header = await authorizer.answer(host, challenges[0], self._asker.credentials, scopes, refused=known)
        response = await self._send(method, path, headers, header, body, params)
        if response.status == 401:
            response.release()
            raise Denied(f"{host}: authorization failed: 401 Unauthorized")
        return response

    async def _send(self, method: str, path: str, headers: dict[str, str], auth: str, body: Any, params: dict[str, str]) -> Any:
        import aiohttp

        if auth and self._same_host(path):
            headers = {**headers, "Authorization": auth}
        while True:
            url, scheme = self._url(path), self._scheme
            try:
                return await self._pool.http().request(
                    method,
                    url,
                    headers=headers,
                    data=body() if body is not None else None,
                    params=params or None,
                    ssl=self._pool.tls(self._endpoint) if url.startswith("https:") else True,
                )
            except (aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ssl.SSLError):
                # an insecure host is tried with https first; only its refusal to speak TLS leads to http
                if scheme == self._endpoint.schemes[-1]:  # another request may have fallen back meanwhile
                    raise
                self._scheme = self._endpoint.schemes[-1]

    def _url(self, path: str) -> str:
        if path.startswith(("http://", "https://")):
            return path
        if path.startswith("//"):
            return f"{self._scheme}://{self._endpoint.host}{path[1:]}"
        return f"{self._scheme}://{self._endpoint.host}{self._endpoint.root}/{path}"

    def _same_host(self, path: str) -> bool:
        if not path.startswith(("http://", "https://")):
            return True
        return path.split("/", 3)[2] == self._endpoint.host


def retry_after(header: str) -> float | None:
    """Seconds that the header asks to wait, as a number or a date (RFC 9110 §10.2.3); None = it says nothing that can be understood."""
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


async def check_status(response: Any, what: str, *, ok: Sequence[int]) -> None:
    """Raises NotFound (404), Denied (401, 403) or Unavailable with the start of the registry's own words."""
    if response.status in ok:
        return
    body = (await response.content.read(2048)).decode(errors="replace").strip()
    text = f"{what}: unexpected status {response.status}" + (f": {body}" if body else "")
    if response.status == 404:
        raise NotFound(f"{what}: not found")
    if response.status in (401, 403):
        raise Denied(text)
    raise Unavailable(text)


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if endpoint.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    authorities, pairs = list(endpoint.tls.ca), [(cert, key) for key, cert in endpoint.tls.keypairs]
    for directory in endpoint.tls.tls_dirs:
        authorities += sorted(str(p) for p in Path(directory).glob("*.crt"))
        pairs += [(str(p), str(p.with_suffix(".key"))) for p in sorted(Path(directory).glob("*.cert"))]
    try:
        for file in authorities:
            context.load_verify_locations(file)
        for cert, key in pairs:
            context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as e:
        raise Unavailable(f"TLS files of registry {endpoint.host}: {e}") from None
    return context
