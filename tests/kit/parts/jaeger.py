"""Jaeger all-in-one with traces in memory."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kit.parts.process import Part, free_port, http_ok, program, running


@dataclass(frozen=True, slots=True, kw_only=True)
class Jaeger:
    """`otlp_grpc` and `otlp_http` are host:port of the OTLP receivers, `udp` that of thrift compact (JAEGER_TRACE), `api` the UI's URL."""

    otlp_grpc: str
    otlp_http: str
    udp: str
    api: str
    part: Part

    def services(self) -> list[str]:
        """Names of the services that have sent spans."""
        return sorted(self._get("/api/services") or [])

    def traces(self, service: str) -> list[dict[str, Any]]:
        """The last traces in which `service` took part, as Jaeger's API gives them."""
        found: list[dict[str, Any]] = self._get(f"/api/traces?service={service}&limit=100&lookback=1h") or []
        return found

    def trace(self, trace_id: str) -> dict[str, Any] | None:
        """One trace by its hex id."""
        found = self._get(f"/api/traces/{trace_id}")
        return found[0] if found else None

    def _get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(self.api + path, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise


@contextmanager
def jaeger_server(folder: Path) -> Iterator[Jaeger]:
    def at(kind: socket.SocketKind = socket.SOCK_STREAM) -> str:
        return f"127.0.0.1:{free_port(kind)}"

    otlp_grpc, otlp_http, ui, admin, udp = at(), at(), at(), at(), at(socket.SOCK_DGRAM)
    flags = {
        "collector.otlp.enabled": "true",
        "collector.otlp.grpc.host-port": otlp_grpc,
        "collector.otlp.http.host-port": otlp_http,
        "query.http-server.host-port": ui,
        "query.grpc-server.host-port": at(),
        "admin.http.host-port": admin,
        "collector.grpc-server.host-port": at(),
        "collector.http-server.host-port": at(),
        "http-server.host-port": at(),
        "processor.jaeger-compact.server-host-port": udp,
        "processor.jaeger-binary.server-host-port": at(socket.SOCK_DGRAM),
        "processor.zipkin-compact.server-host-port": at(socket.SOCK_DGRAM),
        "memory.max-traces": "5000",
    }
    argv = [program("jaeger"), *(f"--{name}={value}" for name, value in flags.items())]
    ready = f"http://{admin}/"
    with running("jaeger", argv, folder=folder, ready=lambda: http_ok(ready) and http_ok(f"http://{ui}/api/services"), seconds=30) as part:
        yield Jaeger(otlp_grpc=otlp_grpc, otlp_http=otlp_http, udp=udp, api=f"http://{ui}", part=part)
