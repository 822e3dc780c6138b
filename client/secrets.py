"""Secrets given on the command line, for the daemon's GetSecret calls (BuildKit session/secrets/secretsprovider)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.errors import InvalidInput, NotFound
from shared.pb import secrets_pb2
from shared.rpc import Call, Handler, unary

_MAX: Final = 500 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSource:
    """`--secret id=…[,src=…|,env=…]`: exactly one of `path` and `variable` is set."""

    id: str
    path: str = ""
    variable: str = ""


class Secrets:
    """Values are read when asked for and never kept."""

    def __init__(self, sources: Mapping[str, SecretSource], environ: Mapping[str, str]) -> None:
        self._sources = dict(sources)
        self._environ = environ

    def routes(self) -> dict[str, Handler]:
        if not self._sources:
            return {}
        return {"/moby.buildkit.secrets.v1.Secrets/GetSecret": unary(self._get, secrets_pb2.GetSecretRequest)}

    async def _get(self, request: secrets_pb2.GetSecretRequest, call: Call) -> secrets_pb2.GetSecretResponse:
        source = self._sources.get(request.ID)
        if source is None:
            raise NotFound(f"secret {request.ID}: not found")
        return secrets_pb2.GetSecretResponse(data=read(source, self._environ))


def read(source: SecretSource, environ: Mapping[str, str]) -> bytes:
    """Raises NotFound or InvalidInput naming the secret, never its value."""
    if source.variable:
        value = environ.get(source.variable)
        if value is None:
            raise NotFound(f"secret {source.id}: environment variable {source.variable} is not set")
        return value.encode("utf-8", "surrogateescape")
    try:
        data = Path(source.path).read_bytes()
    except OSError as error:
        raise NotFound(f"secret {source.id}: {source.path}: {error.strerror}") from None
    if len(data) > _MAX:
        raise InvalidInput(f"secret {source.id}: larger than {_MAX} bytes")
    return data


def parse(text: str, environ: Mapping[str, str]) -> SecretSource:
    """From the command line; without src or env, a variable of that name wins over a file of that name (secretsprovider)."""
    fields: dict[str, str] = {}
    for part in text.split(","):
        key, separator, value = part.partition("=")
        if not separator or key not in ("id", "src", "source", "env", "type"):
            raise InvalidInput(f"--secret {text}: want id=NAME[,src=PATH|,env=VARIABLE], got {part!r}")
        fields["src" if key == "source" else key] = value
    if not fields.get("id"):
        raise InvalidInput(f"--secret {text}: id is missing")
    path, variable = fields.get("src", ""), fields.get("env", "")
    if fields.get("type") == "env" and not variable:
        path, variable = "", path or fields["id"]
    if not path and not variable:
        variable, path = (fields["id"], "") if fields["id"] in environ else ("", fields["id"])
    return SecretSource(id=fields["id"], path=os.path.expanduser(path), variable=variable)
