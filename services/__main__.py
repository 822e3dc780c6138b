"""`python -m services [--config FILE] [--state FOLDER] [--addr ADDRESS]…`: the all-in-one (`buildmesh up`)."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from services.quick_start import lazy_dataclasses, loaded, spare_collections


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status. What it needs is imported after lazy_dataclasses."""
    parser = argparse.ArgumentParser(prog="buildmesh up", description="All six services in one process.")
    parser.add_argument("--config", type=Path, help="TOML file: [mesh] and one table per service")
    parser.add_argument("--state", type=Path, help="folder for everything that is kept")
    parser.add_argument("--addr", action="append", help="address for clients, unix:// or tcp:// (repeatable)")
    parser.add_argument("--http", default="", help="address for health and metrics")
    parser.add_argument("--log-level", default="")
    arguments = parser.parse_args(argv)
    os.umask(0)  # modes that builds ask for are literal
    lazy_dataclasses()
    spare_collections()
    from shared.errors import BuildmeshError

    try:
        return _run(arguments)
    except BuildmeshError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    from services.all_in_one import all_in_one, load
    from services.daemon.lock import state_lock
    from shared.run.process import run_loop

    config = load(
        arguments.config,
        state=arguments.state,
        addresses=arguments.addr or (),
        http=arguments.http,
        log_level=arguments.log_level,
        environment=os.environ,
    )
    with state_lock(config.mesh.state):
        return run_loop(all_in_one(config, dict(os.environ), on_ready=loaded))


if __name__ == "__main__":
    sys.exit(main())
