"""One build over the public API: a session for files and secrets, the Solve, and the Status that tells how it goes."""

from __future__ import annotations

import asyncio
import json
import os
import secrets as random_source
import string
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Final

from client.credentials import DockerCredentials, config_path
from client.image_layouts import ImageLayouts
from client.local_dirs import LocalDirs
from client.request import BuildRequest, CacheEntry
from client.secrets import Secrets
from client.session import attach
from client.ssh import Agents
from client.targets import Targets
from shared.errors import BuildmeshError, InvalidInput, first_failure
from shared.pb import control_pb2
from shared.rpc import CallOpener, Handler

_CONTROL: Final = "/moby.buildkit.v1.Control/"
_STATUS_GRACE: Final = 5.0
"""Seconds that Status may stay silent once Solve has returned (client/solve.go)."""

OnStatus = Callable[[control_pb2.StatusResponse], object]


def new_id() -> str:
    """25 random characters, as BuildKit's own ids."""
    return "".join(random_source.choice(string.ascii_lowercase + string.digits) for _ in range(25))


async def build(
    peer: CallOpener,
    request: BuildRequest,
    on_status: OnStatus,
    *,
    threads: Executor,
    environ: Mapping[str, str],
    ref: str = "",
) -> dict[str, str]:
    """Run it; returns the exporters' answers (`containerimage.digest` and such). Raises the daemon's error, details included."""
    check_folders(request)
    ref, session_id = ref or new_id(), new_id()
    async with attach(peer, session_id, _routes(request, threads, environ)):
        solve = solve_request(request, ref, session_id)
        try:
            async with asyncio.TaskGroup() as group:
                status = group.create_task(_follow(peer, ref, on_status))
                try:
                    data = await peer.unary(_CONTROL + "Solve", solve.SerializeToString())
                finally:
                    await _settle(status)
        except BaseExceptionGroup as errors:
            raise first_failure(errors) from None
    return dict(control_pb2.SolveResponse.FromString(data).ExporterResponse)


def check_folders(request: BuildRequest) -> None:
    """Raises InvalidInput naming a local folder that isn't there."""
    for name, path in request.locals.items():
        if not os.path.isdir(path):
            raise InvalidInput(f"{name}: {path} is not a folder")


def _routes(request: BuildRequest, threads: Executor, environ: Mapping[str, str]) -> dict[str, Handler]:
    targets = {i: export.target for i, export in enumerate(request.exports) if export.target is not None}
    parts = (
        LocalDirs(request.locals, threads=threads),
        ImageLayouts(request.layouts, threads=threads),
        Targets(targets, threads=threads),
        DockerCredentials(config_path(environ), threads=threads),
        Secrets({source.id: source for source in request.secrets}, environ),
        Agents(request.agents),
    )
    return {path: handler for part in parts for path, handler in part.routes().items()}


def solve_request(request: BuildRequest, ref: str, session_id: str) -> control_pb2.SolveRequest:
    attrs = dict(request.attrs)
    if request.cache_imports:  # the frontend is the one that hands them on (client/solve.go)
        entries = [{"Type": entry.kind, "Attrs": dict(entry.attrs)} for entry in request.cache_imports]
        attrs["cache-imports"] = json.dumps(entries)
    return control_pb2.SolveRequest(
        Ref=ref,
        Session=session_id,
        Frontend=request.frontend,
        FrontendAttrs=attrs,
        Exporters=[control_pb2.Exporter(Type=export.kind, Attrs=dict(export.attrs)) for export in request.exports],
        Cache=control_pb2.CacheOptions(
            Exports=[_entry(entry) for entry in request.cache_exports],
            Imports=[_entry(entry) for entry in request.cache_imports],
        ),
        Entitlements=list(request.entitlements),
    )


def _entry(entry: CacheEntry) -> control_pb2.CacheOptionsEntry:
    return control_pb2.CacheOptionsEntry(Type=entry.kind, Attrs=dict(entry.attrs))


async def _follow(peer: CallOpener, ref: str, on_status: OnStatus) -> None:
    request = control_pb2.StatusRequest(Ref=ref).SerializeToString()
    async with await peer.open(_CONTROL + "Status") as call:
        await call.send(request)
        call.close_send()
        try:
            async for message in call.messages():
                on_status(control_pb2.StatusResponse.FromString(message))
        except BuildmeshError:
            return  # the Solve's own error is the one to tell


async def _settle(status: asyncio.Task[None]) -> None:
    done, _ = await asyncio.wait([status], timeout=_STATUS_GRACE)
    if not done:
        status.cancel()
