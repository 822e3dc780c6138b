"""The command line of `buildmesh certs`."""

import argparse
import ipaddress
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from services.certs.folder import AUTHORITY_DAYS, Folder
from shared.errors import BuildmeshError, InvalidInput

__all__ = ["main"]

LOCAL: Final = ("localhost", "127.0.0.1", "::1")
_CLIENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_HOST: Final = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    options = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        written = _fill(options)
    except (BuildmeshError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for place in written:
        print(options.out / place)
    if not written:
        print(f"{options.out} has all of it already; --renew makes certificates anew", file=sys.stderr)
    return 0


def _fill(options: argparse.Namespace) -> list[str]:
    for client in options.client:
        if not _CLIENT.fullmatch(client):
            raise InvalidInput(f"client {client!r}: want letters, digits, dot, dash, underscore or @, 63 at most")
    for name in options.name:
        if not _is_host(name):
            raise InvalidInput(f"name {name!r} is neither a host name nor an address")
    if not 1 <= options.days <= AUTHORITY_DAYS:
        raise InvalidInput(f"days {options.days}: want 1 to {AUTHORITY_DAYS}")
    folder = Folder(path=options.out, now=datetime.now(UTC), days=options.days, renew=options.renew)
    return folder.fill(public_names=[*dict.fromkeys(map(_plain, (*options.name, *LOCAL)))], clients=_clients(options))


def _clients(options: argparse.Namespace) -> list[str]:
    """Those asked for; at the first run `me`, so that there is one; with --renew all that there are."""
    there = sorted(folder.name for folder in (options.out / "clients").glob("*"))
    return [*dict.fromkeys([*options.client, *(there if options.renew else ())])] or ([] if there else ["me"])


def _plain(name: str) -> str:
    """As a certificate spells it."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _is_host(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return _HOST.fullmatch(name) is not None
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="buildmesh certs",
        description="Makes what the parts of a fleet, and its clients, know each other by. What exists stays as it is.",
    )
    parser.add_argument("--out", type=Path, default=Path("certs"), help="the folder (default: certs)")
    parser.add_argument(
        "--name", action="append", default=[], help="host name or address by which clients reach a gateway; repeat it; what it has stays"
    )
    parser.add_argument("--client", action="append", default=[], help="name of a client: its builds' identity; repeat it (default: me)")
    parser.add_argument("--days", type=int, default=365, help="how long certificates are valid (default: 365; authorities: ten years)")
    parser.add_argument("--renew", action="store_true", help="make certificates anew; the authorities stay")
    return parser
