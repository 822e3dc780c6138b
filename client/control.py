"""The daemon's Control API for verbs that only ask: over grpcio, without an event loop. Builds hold a session and use shared.rpc.

grpc is imported when the connection is made; see docs/adr/0101-where-grpcio-is.md for what it costs and where it is not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

from shared.errors import BuildmeshError, Code, InvalidInput, Unavailable

if TYPE_CHECKING:
    import grpc

_SERVICE: Final = "/moby.buildkit.v1.Control/"
_OPTIONS: Final = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.primary_user_agent", "buildmesh"),
]


class Message(Protocol):
    """A generated protobuf message."""

    def SerializeToString(self) -> bytes: ...

    @classmethod
    def FromString(cls, data: bytes) -> Self: ...


M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files: whom to trust ("" = the usual authorities), who we are ("" = nobody). `server_name` stands in for the address's host."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    server_name: str = ""


class Control:
    """An open connection. Raises the daemon's status as an error of our tree, its details included."""

    def __init__(self, channel: grpc.Channel, address: str) -> None:
        self._channel, self._address = channel, address

    def ask(self, method: str, request: Message, answer: type[M], *, within: float | None = None) -> M:
        """One message there, one back; `within` seconds."""
        call = self._channel.unary_unary(_SERVICE + method, request_serializer=_bytes_of, response_deserializer=answer.FromString)
        with _as_ours(self._address):
            found: M = call(request, timeout=within)
            return found

    def listen(self, method: str, request: Message, answer: type[M]) -> Iterator[M]:
        """One message there, as many back as the daemon has."""
        call = self._channel.unary_stream(_SERVICE + method, request_serializer=_bytes_of, response_deserializer=answer.FromString)
        with _as_ours(self._address):
            yield from call(request)


@contextmanager
def control(address: str, *, tls: Tls | None = None, within: float = 5.0) -> Iterator[Control]:
    """The daemon at `unix://path` or `tcp://host:port`. Raises InvalidInput for a bad address.

    The first question connects: it raises Unavailable when nobody answers within so many seconds. Waiting for the channel to be ready
    instead, by grpcio's watching of its state, would cost each verb 0.4 s.
    """
    with _channel(address, tls, within) as channel:
        yield Control(channel, address)


def _channel(address: str, tls: Tls | None, within: float) -> grpc.Channel:
    import grpc

    options = [*_OPTIONS, ("grpc.min_reconnect_backoff_ms", int(within * 1000))]  # the limit of one attempt, and there is only one
    scheme, _, rest = address.partition("://")
    match scheme, tls:
        case "unix", _:
            return grpc.insecure_channel(f"unix:{rest}", options=[*options, ("grpc.default_authority", "localhost")])
        case "tcp", None:
            return grpc.insecure_channel(rest, options=options)
        case "tcp", Tls():
            named = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
            return grpc.secure_channel(rest, _credentials(tls), options=[*options, *named])
        case _:
            raise InvalidInput(f"address {address} is neither unix:// nor tcp://")


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    import grpc

    try:
        ca, cert = (Path(file).read_bytes() if file else None for file in (tls.ca, tls.cert))
        key = Path(tls.key or tls.cert).read_bytes() if tls.cert else None
    except OSError as error:
        raise InvalidInput(f"TLS files: {error}") from None
    return grpc.ssl_channel_credentials(ca, key, cert)


def _bytes_of(message: Message) -> bytes:
    return message.SerializeToString()


@contextmanager
def _as_ours(address: str) -> Iterator[None]:
    """grpc's errors as those of our tree."""
    import grpc

    try:
        yield
    except grpc.RpcError as error:
        raise _error_of(error, address) from None


def _error_of(error: Any, address: str) -> BuildmeshError:
    from shared.rpc.status import Status, error_of, unpack_details

    code, message = Code(error.code().value[0]), str(error.details() or "")
    _, never_connected, why = message.partition("; last error: ")
    if never_connected and code is Code.UNAVAILABLE:
        return Unavailable(f"can't connect to {address}: {why}")
    packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    full = unpack_details(packed) if packed else None
    return error_of(Status(code=code, message=message, details=full.details if full is not None else ()))
