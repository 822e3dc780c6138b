"""The command line of `buildmesh store`."""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from services.store.users import Keys, Store
from shared.blobs.credentials import FILE, credentials
from shared.errors import BuildmeshError, InvalidInput, Unavailable
from shared.run.backends import s3_settings
from shared.run.certificates import Certificates
from shared.wire.roles import ROLES

__all__ = ["main"]

PAUSE = 0.5


def main(argv: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Returns the exit status."""
    options = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        admitted = _prepare(options, os.environ if environment is None else environment)
    except BuildmeshError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"users with rights of their own: {', '.join(admitted) or 'none'}")
    return 0


def _prepare(options: argparse.Namespace, environment: Mapping[str, str]) -> list[str]:
    if not options.blobs.startswith("s3://"):
        raise InvalidInput(f"blobs {options.blobs!r}: want s3://host:port/bucket")
    certificates = Certificates(folder=options.certificates) if options.certificates else None
    store, keys = Store(settings=s3_settings(options.blobs, environment, certificates)), _keys(options.users)
    until = time.monotonic() + options.wait
    while True:
        try:
            return store.prepare(keys)
        except Unavailable as error:
            if time.monotonic() > until:
                raise
            print(f"waiting: {error}", file=sys.stderr, flush=True)
            time.sleep(PAUSE)


def _keys(folder: Path) -> Keys:
    """Raises InvalidInput for a service without a key, or with another's."""
    keys = {service: credentials({FILE: str(folder / service)}) for service in ROLES}
    for service, (key, _) in keys.items():
        if key in ROLES and key != service:
            raise InvalidInput(f"{folder / service}: the key is {key}'s")
    return keys


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="buildmesh store",
        description="Makes the bucket of a MinIO, and for each service a user with the rights that it needs. "
        "MinIO's own key: as AWS's programs find theirs (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
        "or AWS_SHARED_CREDENTIALS_FILE).",
    )
    parser.add_argument("--blobs", default="s3://127.0.0.1:9000/buildmesh", help="the store, as services are told it")
    parser.add_argument("--certificates", type=Path, help="folder with ca.pem (and cert.pem, key.pem), for tls=mesh")
    parser.add_argument("--users", type=Path, default=Path("certs/minio/users"), help="folder with the key of each service")
    parser.add_argument("--wait", type=float, default=120.0, help="seconds to wait for the store (default: 120)")
    return parser
