"""Networks of containers: which provider a mode means, and namespaces lent to steps (util/network; reference 06 §8)."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from services.executor.adapters.cni import CniNetwork, bridge_config, read_config
from services.executor.core.settings import NetworkConfig
from shared.blobs.threads import Pool
from shared.errors import InvalidInput, Unsupported
from shared.llb import NetMode

__all__ = ["Network", "Networks", "open_networks"]

_log = logging.getLogger(__name__)
_BRIDGE_PLUGINS = ("bridge", "loopback", "host-local", "firewall")


class Network(Protocol):
    """Lends namespaces."""

    def lend(self, hostname: str = "", *, trusted: bool = True) -> AbstractAsyncContextManager[str | None]:
        """What the runtime spec says: a path, "" = a new namespace with loopback only, None = the host's.

        `hostname` is one that the step asks for; not `trusted` = it might leave the namespace changed.
        """
        ...

    async def close(self) -> None:
        """Take down what is kept ready."""
        ...


class HostNetwork:
    """No isolation."""

    @asynccontextmanager
    async def lend(self, hostname: str = "", *, trusted: bool = True) -> AsyncIterator[str | None]:
        yield None

    async def close(self) -> None:
        return None


class NoNetwork:
    """Loopback only; the runtime makes it."""

    @asynccontextmanager
    async def lend(self, hostname: str = "", *, trusted: bool = True) -> AsyncIterator[str | None]:
        yield ""

    async def close(self) -> None:
        return None


class Networks:
    """The network of each mode; `label` is what the worker says about its default one (host or cni)."""

    def __init__(self, modes: Mapping[NetMode, Network], label: str) -> None:
        self._modes = modes
        self.label = label

    def of(self, mode: NetMode) -> Network:
        """Raises Unsupported for a mode without a provider."""
        network = self._modes.get(mode)
        if network is None:
            raise Unsupported(f"unknown network mode {mode.name}")
        return network

    async def close(self) -> None:
        for network in self._modes.values():
            await network.close()


def open_networks(config: NetworkConfig, state: Path, threads: Pool) -> Networks:
    """The networks of a configuration. Blocking but quick; namespaces are made when first needed. Errors: InvalidInput."""
    mode = _resolved(config)
    host = HostNetwork()
    default: Network
    match mode:
        case "host":
            default = host
        case "cni":
            default = CniNetwork(read_config(Path(config.cni_config)), _search(config), state, config.cni_pool, threads)
        case "bridge":
            names, search = _bridge_plugins(config)
            document = bridge_config(config.bridge_name, config.bridge_subnet, names)
            default = CniNetwork(document, search, state, config.cni_pool, threads)
        case _:
            raise InvalidInput(f'invalid network mode: "{mode}"')
    modes = {NetMode.SANDBOX: default, NetMode.HOST: host, NetMode.NONE: NoNetwork()}
    return Networks(modes, "host" if mode == "host" else "cni")


def _resolved(config: NetworkConfig) -> str:
    if config.mode not in ("auto", ""):
        return config.mode
    if os.path.exists(config.cni_config):
        return "cni"
    _log.warning("no CNI configuration at %s: steps without a network mode use the host's network", config.cni_config)
    return "host"


def _search(config: NetworkConfig) -> tuple[str, ...]:
    return (config.cni_binaries, "/usr/lib/cni", "/opt/cni/bin")


def _bridge_plugins(config: NetworkConfig) -> tuple[dict[str, str], tuple[str, ...]]:
    """BuildKit's own builds of the plugins when all four are on PATH, else the plain ones."""
    own = {name: f"buildkit-cni-{name}" for name in _BRIDGE_PLUGINS}
    places = {name: shutil.which(program) for name, program in own.items()}
    if all(places.values()):
        return own, tuple({os.path.dirname(place) for place in places.values() if place})
    return {name: name for name in _BRIDGE_PLUGINS}, _search(config)
