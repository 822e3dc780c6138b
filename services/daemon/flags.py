"""The command line of buildkitd (reference 06 §2). Go's habits are kept: one dash or two, `--flag=false`, repeated flags."""

import argparse
from collections.abc import Mapping, Sequence

from shared.errors import InvalidInput

VERSION = "v0.32.2"  # of the BuildKit whose API this is
PACKAGE = "github.com/buildmesh/buildmesh"

_BOOLS = (
    "debug",
    "trace",
    "proxy-network",
    "cdi-disabled",
    "save-cache-debug",
    "rootless",
    "oci-worker-selinux",
    "oci-worker-rootless",
    "oci-worker-no-process-sandbox",
    "oci-worker-gc",
    "containerd-worker-selinux",
    "containerd-worker-rootless",
    "containerd-worker-gc",
)
_TEXTS = (
    "config",
    "root",
    "group",
    "log-level",
    "log-format",
    "debugaddr",
    "tlscert",
    "tlskey",
    "tlscacert",
    "otel-socket-path",
    "oci-worker",
    "oci-worker-snapshotter",
    "oci-worker-proxy-snapshotter-path",
    "oci-worker-net",
    "oci-cni-config-path",
    "oci-cni-binary-dir",
    "oci-cni-pool-size",
    "oci-worker-binary",
    "oci-worker-apparmor-profile",
    "oci-max-parallelism",
    "oci-worker-gc-keepstorage",
    "containerd-worker",
    "containerd-worker-addr",
    "containerd-worker-namespace",
    "containerd-worker-runtime",
    "containerd-worker-net",
    "containerd-cni-config-path",
    "containerd-cni-binary-dir",
    "containerd-cni-pool-size",
    "containerd-worker-snapshotter",
    "containerd-worker-apparmor-profile",
    "containerd-max-parallelism",
    "containerd-worker-gc-keepstorage",
)
_LISTS = (
    "addr",
    "allow-insecure-entitlement",
    "cdi-spec-dir",
    "oci-worker-labels",
    "oci-worker-platform",
    "containerd-worker-labels",
    "containerd-worker-platform",
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> "None":  # type: ignore[override]
        raise InvalidInput(message)


def parse_flags(argv: Sequence[str], environment: Mapping[str, str]) -> argparse.Namespace:
    """Attributes by flag name with underscores; None / () = not given. Raises InvalidInput for an unknown flag."""
    parser = _Parser(prog="buildmeshd", description="Build daemon, a drop-in for buildkitd.", allow_abbrev=False)
    parser.add_argument("--version", "-v", action="version", version=f"buildkitd {PACKAGE} {VERSION} buildmesh")
    for name in _BOOLS:
        parser.add_argument(f"--{name}", type=_bool, default=None, metavar="BOOL")
    for name in _TEXTS:
        parser.add_argument(f"--{name}", default=None)
    for name in _LISTS:
        parser.add_argument(f"--{name}", action="append", default=None)
    flags = parser.parse_args([_normal(word) for word in argv])
    flags.log_level = flags.log_level or environment.get("BUILDKITD_LOG_LEVEL") or None
    flags.debugaddr = flags.debugaddr or environment.get("BUILDKITD_DEBUGADDR") or None
    for name in _LISTS:
        setattr(flags, name.replace("-", "_"), tuple(getattr(flags, name.replace("-", "_")) or ()))
    return flags


def _normal(word: str) -> str:
    """`-debug` → `--debug=true`."""
    if word.startswith("-") and not word.startswith("--") and len(word) > 2:
        word = "-" + word
    return f"{word}=true" if word.removeprefix("--") in _BOOLS and word.startswith("--") else word


def _bool(text: str) -> bool:
    if text.lower() in ("true", "1", "t"):
        return True
    if text.lower() in ("false", "0", "f"):
        return False
    raise argparse.ArgumentTypeError(f"invalid boolean {text!r}")
