"""`buildmesh build`."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TextIO

from client.build import build, check_folders, new_id
from client.cli import reach
from client.cli.options import build_request
from client.progress import Display, make_display
from client.progress.display import MODES
from client.request import BuildRequest
from shared.errors import BuildmeshError, first_failure
from shared.rpc import CallOpener


def configure(parser: argparse.ArgumentParser) -> None:
    reach.configure(parser)
    parser.add_argument("path", nargs="?", metavar="PATH", help="folder or URL to build (short form)")
    parser.add_argument("-f", "--file", default="", help="Dockerfile (default: PATH/Dockerfile)")
    parser.add_argument("-t", "--tag", action="append", default=[], metavar="NAME", help="name of the image (repeatable)")
    parser.add_argument("--push", action="store_true", help="push the image to its registry")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only the image's digest")
    parser.add_argument("--target", default="", metavar="STAGE", help="stage to build")
    parser.add_argument("--platform", action="append", default=[], metavar="PLATFORM")
    parser.add_argument("--pull", action="store_true", help="look for newer base images")
    _lists(parser)
    parser.add_argument("--no-cache", action="store_true", help="run every step")
    parser.add_argument("--frontend", default="dockerfile.v0", metavar="NAME")
    parser.add_argument("--progress", choices=MODES, default="auto", help="how to show the build (default: auto)")
    parser.add_argument("--metadata-file", default="", metavar="FILE", help="write what exporters answer, as JSON")
    parser.add_argument("--ref-file", default="", metavar="FILE", help="write the build's id")


def _lists(parser: argparse.ArgumentParser) -> None:
    for names, metavar, text in (
        (("-o", "--output"), "SPEC", "type=image|oci|docker|tar|local,…, a folder, or - (repeatable)"),
        (("--build-arg",), "KEY=VALUE", "ARG of the Dockerfile"),
        (("--build-context",), "NAME=PATH", "further context, or what FROM NAME means: a folder, a URL, oci-layout://FOLDER[:TAG]"),
        (("--label",), "KEY=VALUE", "label of the image"),
        (("--local",), "NAME=FOLDER", "folder the daemon may read"),
        (("--opt",), "KEY=VALUE", "option of the frontend"),
        (("--secret",), "id=ID[,src=FILE|,env=VARIABLE]", "secret for RUN --mount=type=secret"),
        (("--ssh",), "default|ID[=SOCKET]", "agent for RUN --mount=type=ssh"),
        (("--allow",), "ENTITLEMENT", "network.host or security.insecure"),
        (("--export-cache", "--cache-to"), "SPEC", "type=registry,ref=… and such"),
        (("--import-cache", "--cache-from"), "SPEC", "type=registry,ref=… and such"),
    ):
        parser.add_argument(*names, action="append", default=[], metavar=metavar, help=text)


def run(arguments: argparse.Namespace) -> int:
    try:
        request = build_request(arguments, os.environ)
        check_folders(request)
    except BuildmeshError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2
    ref = new_id()
    if arguments.ref_file:
        _write(arguments.ref_file, ref)

    async def work() -> None:
        async with reach.daemon(arguments) as peer:
            answer = await _shown(peer, request, arguments, ref)
        if arguments.metadata_file:
            _write(arguments.metadata_file, json.dumps(metadata(answer), indent=2))
        if arguments.quiet:
            print(answer.get("containerimage.digest", ""))

    return reach.complete(lambda: asyncio.run(work()), prefix="failed to solve: ")


async def _shown(peer: CallOpener, request: BuildRequest, arguments: argparse.Namespace, ref: str) -> dict[str, str]:
    display = make_display("quiet" if arguments.quiet else arguments.progress, _screen())
    try:
        with ThreadPoolExecutor(8, "files") as threads:
            async with asyncio.TaskGroup() as group:
                ticking = group.create_task(_tick(display))
                work = build(peer, request, display.update, threads=threads, environ=os.environ, ref=ref)
                try:
                    return await work
                finally:
                    ticking.cancel()
    except BaseExceptionGroup as errors:
        raise first_failure(errors) from None
    finally:
        display.close()


def _screen() -> TextIO:
    """Standard output may carry an archive, so the display has the other one."""
    return sys.stderr


async def _tick(display: Display) -> None:
    while True:
        await asyncio.sleep(0.2)
        display.tick()


def metadata(answer: Mapping[str, str]) -> dict[str, Any]:
    """As `--metadata-file` of buildctl: values that are JSON in base64 are unpacked."""
    out: dict[str, Any] = {}
    for key, value in sorted(answer.items()):
        try:
            unpacked = json.loads(base64.b64decode(value, validate=True))
            out[key] = unpacked if isinstance(unpacked, dict | list) else value
        except ValueError:
            out[key] = value
    return out


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
