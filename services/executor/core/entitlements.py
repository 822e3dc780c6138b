"""Privileges, checked again where they would be used (the gateway and the solver have checked before; the bus is not trusted)."""

from collections.abc import Collection

from shared.errors import BuildFailed
from shared.llb import ExecOp, NetMode, SecurityMode


def check_entitlements(kind: object, granted: Collection[str]) -> None:
    """Raises BuildFailed in BuildKit's words (util/entitlements) when an exec op needs more than was granted."""
    if not isinstance(kind, ExecOp):
        return
    names = {entry.partition("=")[0] for entry in granted}
    if kind.network is NetMode.HOST and "network.host" not in names:
        raise BuildFailed("network.host is not allowed")
    if kind.security is SecurityMode.INSECURE and "security.insecure" not in names:
        raise BuildFailed("security.insecure is not allowed")
