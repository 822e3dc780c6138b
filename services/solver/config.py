"""Configuration of the solver service."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverConfig:
    """`entitlements`: what builds may be granted (`network.host`, `security.insecure`, `device`). `builds`: at a time in this process;
    more wait in the queue. `trace`: scheduling decisions kept for «explain», 0 = none; each costs about 300 bytes.
    `provenance_env`: a JSON object; its members are shown in the provenance of every build. `shares`: weights of identities (of client
    certificates) when steps wait for executors, 1 where not given."""

    entitlements: tuple[str, ...] = ("device",)
    builds: int = 64
    trace: int = 5000
    provenance_env: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)
