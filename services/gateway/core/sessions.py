"""Who is attached: the metadata by which a client opens its session (BuildKit session/manager.go)."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.errors import InvalidInput
from shared.model import require_safe_id

_UUID = "x-docker-expose-session-uuid"
_NAME = "x-docker-expose-session-name"
_SHARED_KEY = "x-docker-expose-session-sharedkey"
_METHOD = "x-docker-expose-session-grpc-method"
_HEALTH = "x-buildkit-session-health-custom-timeout"

MAX_METHODS = 256
HEALTH_INTERVAL = 5.0
HEALTH_STRIKES = 2
MIN_HEALTH_TIMEOUT = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A session as announced. `methods` in lower case; `health_timeout` s, 0 = the usual rule."""

    id: str
    name: str = ""
    shared_key: str = ""
    methods: frozenset[str] = frozenset()
    health_timeout: float = 0.0

    def serves(self, method: str) -> bool:
        """Whether the client serves `/package.Service/Method`."""
        return method.lower() in self.methods


def attached(metadata: Iterable[tuple[str, str]]) -> Attached:
    """Raises InvalidInput for a missing or unusable id, too many methods or a bad time-out."""
    values: dict[str, list[str]] = {}
    for key, value in metadata:
        values.setdefault(key.lower(), []).append(value)
    methods = values.get(_METHOD, [])
    if len(methods) > MAX_METHODS:
        raise InvalidInput(f"session announces {len(methods)} methods, at most {MAX_METHODS} are accepted")
    try:
        return Attached(
            id=require_safe_id(_first(values, _UUID), "session id"),
            name=_first(values, _NAME),
            shared_key=_first(values, _SHARED_KEY),
            methods=frozenset(m.lower() for m in methods if m.startswith("/")),
            health_timeout=_health_timeout(_first(values, _HEALTH)),
        )
    except ValueError as error:
        raise InvalidInput(str(error)) from None


def _first(values: dict[str, list[str]], key: str) -> str:
    return next(iter(values.get(key, ())), "")


def _health_timeout(text: str) -> float:
    """Milliseconds, at least 1000."""
    if not text:
        return 0.0
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValueError(f"invalid session health timeout: {text[:100]!r}")
    return max(int(text), 1000) / 1000


def relay_told(relay: str, host: str) -> str:
    """The relay's address as other services are to dial it: on all addresses means at `host`, this machine's name."""
    for everywhere in ("tcp://0.0.0.0:", "tcp://[::]:"):
        if relay.startswith(everywhere):
            return f"tcp://{host}:{relay.removeprefix(everywhere)}"
    return relay
