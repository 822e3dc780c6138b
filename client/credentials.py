"""Registry logins from Docker's config file, for the daemon's Auth calls (BuildKit session/auth/authprovider)."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final

from shared.pb import auth_pb2
from shared.rpc import Call, Handler, unary

_HUB: Final = "https://index.docker.io/v1/"


def config_path(environ: Mapping[str, str]) -> Path:
    """`$DOCKER_CONFIG/config.json`, or the one in the home directory."""
    folder = environ.get("DOCKER_CONFIG") or os.path.join(environ.get("HOME", "/"), ".docker")
    return Path(folder) / "config.json"


class DockerCredentials:
    """Reads the file at each question, since a login may happen while a build runs. What can't be read means anonymous."""

    def __init__(self, config: Path, *, threads: Executor) -> None:
        self._config = config
        self._threads = threads

    def routes(self) -> dict[str, Handler]:
        return {"/moby.filesync.v1.Auth/Credentials": unary(self._credentials, auth_pb2.CredentialsRequest)}

    async def _credentials(self, request: auth_pb2.CredentialsRequest, call: Call) -> auth_pb2.CredentialsResponse:
        loop = asyncio.get_running_loop()
        user, secret = await loop.run_in_executor(self._threads, lookup, self._config, request.Host)
        return auth_pb2.CredentialsResponse(Username=user, Secret=secret)


def lookup(config: Path, host: str) -> tuple[str, str]:
    """User and secret for a registry host; without a user the secret is an identity token; both empty = anonymous. Blocking."""
    try:
        document = json.loads(config.read_text())
    except (OSError, ValueError):
        return "", ""
    key = _HUB if host in ("registry-1.docker.io", "docker.io", "index.docker.io") else host
    helper = (document.get("credHelpers") or {}).get(key) or document.get("credsStore")
    found = _from_helper(helper, key) if helper else None
    return found or _from_auths(document.get("auths") or {}, key)


def _from_auths(auths: Mapping[str, Any], key: str) -> tuple[str, str]:
    entry = next((auths[name] for name in (key, f"https://{key}", f"http://{key}", f"https://{key}/") if name in auths), None)
    if not isinstance(entry, dict):
        return "", ""
    if entry.get("identitytoken"):
        return "", str(entry["identitytoken"])
    if entry.get("username"):
        return str(entry["username"]), str(entry.get("password", ""))
    try:
        user, _, password = base64.b64decode(entry.get("auth", "")).decode().partition(":")
    except ValueError:
        return "", ""
    return user, password.rstrip("\0")


def _from_helper(helper: str, key: str) -> tuple[str, str] | None:
    """Asks `docker-credential-<helper> get`."""
    try:
        done = subprocess.run([f"docker-credential-{helper}", "get"], input=key.encode(), capture_output=True, timeout=30, check=True)
        answer = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    user = str(answer.get("Username", ""))
    return ("" if user == "<token>" else user), str(answer.get("Secret", ""))
