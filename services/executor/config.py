"""Configuration of the executor service."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from services.executor.core.log_limit import LogLimits
from services.executor.core.settings import CdiSettings, NetworkConfig, StepSettings, WarmMountSettings
from shared.model import Platform, is_safe_id
from shared.registry.hosts import RegistryHosts
from shared.wire.messages import GcRule

__all__ = ["CdiSettings", "ExecutorConfig", "NetworkConfig"]


class Publish(StrEnum):
    """When results go to the blob store by themselves."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorConfig:
    """`max_parallelism`: ops that run at once; 0 = four times the number of cores, but no more than memory allows with `step_memory` bytes
    each; in the all-in-one practically no limit (as buildkitd).

    `platforms` empty = detected, the native one first; those that binfmt_misc emulates are used when no other executor has them natively.
    A build that asks for a class runs on executors that have it among `classes`, or a label of that name with the value `true`.
    `publish` puts results into the blob store while builds go on: auto (when there are other executors) | always | never (when asked for).
    `debug_output`: copy what steps print to this process's log.
    """

    state: Path = Path()  # empty = "executor" in the process's state folder
    snapshotter: str = "auto"  # auto | overlayfs | native
    runtime: str = ""  # the OCI runtime's program; "" = buildkit-runc, runc (≥ 1.1) or crun (≥ 1.15) on PATH
    max_parallelism: int = 0
    step_memory: int = 256 << 20
    publish: Publish = Publish.AUTO
    platforms: tuple[Platform, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    classes: tuple[str, ...] = ("default",)
    entitlements: frozenset[str] = frozenset()
    network: NetworkConfig = field(default_factory=NetworkConfig)
    cgroup_parent: str = ""
    own_cgroup: bool = False  # steps get a cgroup of this executor's below `cgroup_parent`; both are removed when the last one ends
    cdi: CdiSettings = field(default_factory=CdiSettings)
    cache_mounts: WarmMountSettings = field(default_factory=WarmMountSettings)
    registries: RegistryHosts = field(default_factory=RegistryHosts)
    gc_policy: tuple[GcRule, ...] = ()
    debug_output: bool = False
    log_size: int = 2 << 20  # bytes a stream of a step may print before it is clipped, -1 = no limit (BUILDKIT_STEP_LOG_MAX_SIZE)
    log_speed: int = 200 << 10  # the same per second on average (BUILDKIT_STEP_LOG_MAX_SPEED)

    @property
    def all_classes(self) -> tuple[str, ...]:
        """Named ones and those that labels stand for."""
        return tuple(dict.fromkeys((*self.classes, *(name for name, value in self.labels if value == "true" and is_safe_id(name)))))

    @property
    def steps(self) -> StepSettings:
        """The part that concerns steps."""
        return StepSettings(
            runtime=self.runtime,
            cgroup_parent=self.cgroup_parent,
            network=self.network,
            limits=LogLimits(size=self.log_size, speed=self.log_speed),
            echo=self.debug_output,
            warm=self.cache_mounts,
            cdi=self.cdi,
        )
