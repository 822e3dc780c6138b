"""`python -m services [--config FILE] [--state FOLDER] [--addr ADDRESS]…`: the all-in-one (`buildmesh up`)."""

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from services.all_in_one import AllConfig, all_in_one
from services.daemon.lock import state_lock
from services.daemon.plan import disk_of
from shared.errors import BuildmeshError
from shared.run import settings
from shared.run.process import run_loop


def load(arguments: argparse.Namespace) -> AllConfig:
    """The file, changed by what the command line says."""
    config = settings.build(AllConfig, settings.read_toml(arguments.config)) if arguments.config else AllConfig()
    mesh, gateway, executor = config.mesh, config.gateway, config.executor
    if arguments.state:
        mesh = dataclasses.replace(mesh, state=arguments.state.absolute())
    if arguments.log_level:
        mesh = dataclasses.replace(mesh, log_level=arguments.log_level)
    if arguments.http:
        mesh = dataclasses.replace(mesh, http=arguments.http)
    if arguments.addr:
        gateway = dataclasses.replace(gateway, addresses=tuple(arguments.addr))
    if not executor.gc_policy:
        from services.daemon.amounts import Caps, default_policy

        executor = dataclasses.replace(executor, gc_policy=default_policy(Caps(), disk_of(mesh.state)))
    return dataclasses.replace(config, mesh=mesh, gateway=gateway, executor=executor)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="buildmesh up", description="All six services in one process.")
    parser.add_argument("--config", type=Path, help="TOML file: [mesh] and one table per service")
    parser.add_argument("--state", type=Path, help="folder for everything that is kept")
    parser.add_argument("--addr", action="append", help="address for clients, unix:// or tcp:// (repeatable)")
    parser.add_argument("--http", default="", help="address for health and metrics")
    parser.add_argument("--log-level", default="")
    os.umask(0)  # modes that builds ask for are literal
    try:
        config = load(parser.parse_args(argv))
        with state_lock(config.mesh.state):
            return run_loop(all_in_one(config, dict(os.environ)))
    except BuildmeshError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
