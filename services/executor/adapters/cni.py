"""Network namespaces set up by CNI plugins (CNI spec 1.0: a plugin is a program, JSON on stdin, variables in the environment).

Namespaces are files below the state directory, each a bind mount of a namespace made by a short-lived thread. A few can be kept
ready, so that a step does not wait for its plugins (BuildKit's cniPoolSize).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from typing import Any

from services.executor.adapters import syscalls
from services.executor.adapters.process import capture
from shared.blobs.threads import Pool
from shared.errors import InvalidInput, Unavailable

__all__ = ["CniNetwork", "bridge_config", "read_config"]

_log = logging.getLogger(__name__)
_PLUGIN_SECONDS = 60.0
_INTERFACE = "eth0"
_IDLE_SECONDS = 300.0
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


def read_config(path: Path) -> dict[str, Any]:
    """A network configuration list; a single network is made into a list of one. Errors: InvalidInput naming the file."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInput(f"can't read CNI configuration {path}: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("name", "buildkit"), str):
        raise InvalidInput(f"CNI configuration {path} is no object")
    if "plugins" not in document:
        document = {"cniVersion": document.get("cniVersion", "0.3.1"), "name": document.get("name", "buildkit"), "plugins": [document]}
    for plugin in document["plugins"]:
        kind = plugin.get("type") if isinstance(plugin, dict) else None
        if not isinstance(kind, str) or "/" in kind or kind in ("", ".", ".."):
            raise InvalidInput(f"CNI configuration {path}: a plugin has no valid type")
    return document


def bridge_config(name: str, subnet: str, plugins: Mapping[str, str]) -> dict[str, Any]:
    """The built-in network (util/network/cniprovider/bridge.go)."""
    return {
        "cniVersion": "1.0.0",
        "name": "buildkit",
        "plugins": [
            {"type": plugins["loopback"]},
            {
                "type": plugins["bridge"],
                "bridge": name,
                "isDefaultGateway": True,
                "ipMasq": True,
                "ipam": {"type": plugins["host-local"], "ranges": [[{"subnet": subnet}]]},
            },
            {"type": plugins["firewall"], "ingressPolicy": "same-bridge"},
        ],
    }


@dataclass(slots=True, kw_only=True)
class _Namespace:
    """One namespace; `result` is what the last plugin answered, which DEL wants back."""

    path: str
    hostname: str = ""
    result: dict[str, Any] | None = None
    idle_since: float = 0.0


class CniNetwork:
    """Lends namespaces. Those given back are lent again: a sandboxed step has no right to change anything in one.

    Above `pool` of them, one that was idle for five minutes is taken down (util/network/netpool).
    """

    def __init__(self, config: dict[str, Any], search: Sequence[str], state: Path, pool: int, threads: Pool) -> None:
        self._config = config
        self._search = tuple(dict.fromkeys(search))
        self._state = state / "netns"
        self._pool = pool
        self._threads = threads
        self._ready: list[_Namespace] = []
        self._plugins = asyncio.Lock()  # host-local and iptables are not good at being called at once
        self._state.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._left = [_Namespace(path=str(path)) for path in self._state.iterdir()]

    @asynccontextmanager
    async def lend(self, hostname: str = "", *, trusted: bool = True) -> AsyncIterator[str | None]:
        """A namespace with the network in it; made for this step alone if it has a `hostname` or is not `trusted`.

        Errors: Unavailable naming the plugin and what it said.
        """
        alone = bool(hostname) or not trusted
        namespace = self._ready.pop() if self._ready and not alone else await self._make(hostname)
        try:
            yield namespace.path
        finally:
            if alone:
                await self._take_down(namespace)
            else:
                namespace.idle_since = time.monotonic()
                self._ready.append(namespace)
        await self._trim()

    async def _trim(self) -> None:
        limit = time.monotonic() - _IDLE_SECONDS
        while len(self._ready) > self._pool and self._ready[0].idle_since < limit:
            await self._take_down(self._ready.pop(0))

    async def close(self) -> None:
        """Take down what is idle, and what a process that was killed had left."""
        for namespaces in (self._ready, self._left):
            while namespaces:
                await self._take_down(namespaces.pop())

    async def _make(self, hostname: str) -> _Namespace:
        while self._left:  # of a process that was killed: their addresses are still reserved
            await self._take_down(self._left.pop())
        namespace = _Namespace(path=str(self._state / secrets.token_hex(12)), hostname=hostname)
        await self._threads.finish(_new_namespace, namespace.path)
        try:
            async with self._plugins:
                for plugin in self._config["plugins"]:
                    namespace.result = await self._call("ADD", plugin, namespace) or namespace.result
        except BaseException:
            await self._take_down(namespace)
            raise
        return namespace

    async def _take_down(self, namespace: _Namespace) -> None:
        async with self._plugins:
            for plugin in reversed(self._config["plugins"]):
                try:
                    await self._call("DEL", plugin, namespace)
                except Unavailable as error:
                    _log.warning("%s", error.message)
        await self._threads.finish(_drop_namespace, namespace.path)

    async def _call(self, command: str, plugin: dict[str, Any], namespace: _Namespace) -> dict[str, Any] | None:
        kind = plugin["type"]
        program = next((place for folder in self._search if os.access(place := os.path.join(folder, kind), os.X_OK)), "")
        if not program:
            raise Unavailable(f"CNI plugin {kind} not found in {', '.join(self._search)}")
        document = {**plugin, "name": self._config.get("name", "buildkit"), "cniVersion": self._config.get("cniVersion", "1.0.0")}
        if namespace.result is not None:
            document["prevResult"] = namespace.result
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": os.path.basename(namespace.path),
            "CNI_NETNS": namespace.path,
            "CNI_IFNAME": "lo" if kind.endswith("loopback") else _INTERFACE,
            "CNI_PATH": ":".join(self._search),
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        }
        if namespace.hostname:  # what plugins that serve names go by
            environment["CNI_ARGS"] = f"IgnoreUnknown=1;K8S_POD_NAME={namespace.hostname}"
        code, out = await _execute(program, json.dumps(document).encode(), environment)
        try:
            answer = json.loads(out) if out.strip() else None
        except ValueError:
            answer = None
        if code:
            said = answer.get("msg", "") if isinstance(answer, dict) else out.decode("utf-8", "replace")[:500]
            raise Unavailable(f"CNI plugin {kind} failed to {command}: {said or f'exit code {code}'}")
        return answer if isinstance(answer, dict) and command == "ADD" else None


async def _execute(program: str, data: bytes, environment: dict[str, str]) -> tuple[int, bytes]:
    try:
        async with asyncio.timeout(_PLUGIN_SECONDS):
            code, out, _ = await capture([program], data=data, env=environment)
    except TimeoutError:
        raise Unavailable(f"CNI plugin {os.path.basename(program)} did not end within {_PLUGIN_SECONDS:g} s") from None
    return code, out


def _new_namespace(path: str) -> None:
    """A network namespace that stays as long as the file is mounted. Its maker is a thread of its own, which ends at once."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDONLY, 0o444))
    failure: list[OSError] = []

    def make() -> None:
        try:
            syscalls.unshare(syscalls.CLONE_NEWNET)
            _raise_loopback()
            syscalls.bind(f"/proc/self/task/{threading.get_native_id()}/ns/net", path)
        except OSError as error:
            failure.append(error)

    thread = threading.Thread(target=make, name="netns")
    thread.start()
    thread.join()
    if failure:
        os.unlink(path)
        raise Unavailable(f"can't make a network namespace: {failure[0].strerror}") from failure[0]


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


def _drop_namespace(path: str) -> None:
    syscalls.detach(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
