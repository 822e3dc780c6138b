"""hosts and resolv.conf files for containers: written once and shared where they are equal."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

from services.executor.core.names_files import Dns, hosts_text, nameservers_of, only_systemd_resolved, resolv_conf_text
from services.executor.core.spec import DEFAULT_HOSTNAME
from shared.llb import Meta

__all__ = ["ContainerFiles"]

_SYSTEMD = Path("/run/systemd/resolve/resolv.conf")


class ContainerFiles:
    """Files below one directory, named by their content: equal ones are one file, and none is ever changed while in use."""

    def __init__(self, root: Path, dns: Dns, *, source: Path = Path("/etc/resolv.conf")) -> None:
        self._root = root
        self._dns = dns
        self._source = source
        self._lock = threading.Lock()
        self._seen: dict[str, str] = {}
        root.mkdir(mode=0o711, parents=True, exist_ok=True)

    def hosts(self, meta: Meta) -> str:
        """Path of the hosts file for a step."""
        return self._file("hosts", hosts_text(meta.hostname or DEFAULT_HOSTNAME, meta.extra_hosts))

    def resolv_conf(self, *, host_network: bool) -> str:
        """Path of the resolv.conf; made anew when the host's has changed."""
        return self._file("resolv.conf", self._resolv_conf(host_network=host_network))

    def nameservers(self) -> list[str]:
        """Of containers with a network of their own, as it is now."""
        return nameservers_of(self._resolv_conf(host_network=False))

    def _resolv_conf(self, *, host_network: bool) -> str:
        text = _read(self._source)
        if not host_network and only_systemd_resolved(text):
            text = _read(_SYSTEMD) or text
        return resolv_conf_text(text, self._dns, host_network=host_network)

    def _file(self, kind: str, text: str) -> str:
        name = f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        with self._lock:
            if name not in self._seen:
                path, fresh = self._root / name, self._root / (name + ".tmp")
                fresh.write_text(text)
                os.chmod(fresh, 0o644)
                os.rename(fresh, path)
                self._seen[name] = str(path)
            return self._seen[name]


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
