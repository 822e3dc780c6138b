"""Starts the daemon: umask, who may run it, the lock, then the six services. All else is imported after lazy_dataclasses."""

import os
import sys
from collections.abc import Sequence

from services.quick_start import lazy_dataclasses, loaded, spare_collections


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status. Errors go to stderr as `buildkitd: …`, as software that starts one expects."""
    os.umask(0)  # modes that builds ask for are literal
    lazy_dataclasses()
    spare_collections()
    from shared.errors import BuildmeshError

    try:
        return _run(sys.argv[1:] if argv is None else argv, dict(os.environ))
    except BuildmeshError as error:
        print(f"buildkitd: {error}", file=sys.stderr)
        return 1


def _run(argv: Sequence[str], environment: dict[str, str]) -> int:
    from services.daemon.flags import parse_flags
    from shared.errors import Denied

    flags = parse_flags(argv, environment)
    rootless = bool(flags.rootless) or (in_user_namespace() and flags.rootless is None)
    if os.geteuid() != 0:
        raise Denied("rootless mode requires to be executed as the mapped root in a user namespace; you may use RootlessKit")

    from services.all_in_one import all_in_one
    from services.daemon.lock import notify, state_lock
    from services.daemon.plan import make_plan
    from shared.run.process import run_loop

    def ready() -> None:
        loaded()
        notify(environment, "READY=1")

    config = make_plan(flags, environment, rootless=rootless)
    with state_lock(config.mesh.state):
        status = run_loop(all_in_one(config, environment, on_ready=ready))
        notify(environment, "STOPPING=1")
    return status


def in_user_namespace() -> bool:
    """Whether uid 0 here is somebody else outside (the whole range mapped to itself means: no)."""
    try:
        with open("/proc/self/uid_map") as table:
            return table.readline().split() != ["0", "0", "4294967295"]
    except OSError:
        return False
