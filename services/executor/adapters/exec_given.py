"""What a container needs from elsewhere before it can be made: secrets, agent sockets, cache directories, a network."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from services.executor.adapters.agent_sockets import AgentSockets
from services.executor.adapters.cache_dirs import CacheDirs, Wish
from services.executor.adapters.cdi_specs import CdiSpecs
from services.executor.adapters.exec_bundle import Bundle, Bundles, Given
from services.executor.adapters.network import Networks
from services.executor.adapters.platforms import emulator_of
from services.executor.adapters.runc import Runc
from services.executor.core.cdi import HostDevice
from services.executor.core.log_limit import LogLimits
from services.executor.core.mounts import CacheDir, MountPlan, SecretFile, SshSocket
from services.executor.ports import SnapshotStore
from shared.blobs.threads import Pool
from shared.errors import BuildFailed, InvalidInput, NotFound
from shared.llb import ExecOp, SecurityMode
from shared.llb.definition import Resources
from shared.model import Platform, Ref
from shared.pb import ops_pb2
from shared.session.ports import SessionLinks
from shared.session.secrets import get_secret
from shared.wire.messages import Scope

__all__ = ["ExecParts", "Gathering"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecParts:
    """What runs containers works with. `home`: this executor; `platforms` are those which need no emulator of ours."""

    home: str
    store: SnapshotStore
    threads: Pool
    runc: Runc
    bundles: Bundles
    networks: Networks
    caches: CacheDirs
    agents: AgentSockets
    links: SessionLinks
    platforms: tuple[Platform, ...]
    limits: LogLimits
    cdi: CdiSpecs
    echo: bool = False

    def take_down(self, bundle: Bundle) -> None:
        """What the runtime left, then the bundle; its children stay. Blocking, idempotent."""
        if bundle.spec:
            self.runc.sweep(bundle.path.name, bundle.spec["linux"]["cgroupsPath"])
        self.bundles.take_down(bundle)

    def abandon(self, bundle: Bundle) -> None:
        """The children go, too. Blocking."""
        try:
            self.take_down(bundle)
        finally:
            for id in bundle.children.values():
                self.store.unclaim(id)


class Gathering:
    """Fetches it."""

    def __init__(self, parts: ExecParts) -> None:
        self._parts = parts

    async def gather(
        self,
        stack: AsyncExitStack,
        op: ExecOp,
        plan: MountPlan,
        inputs: tuple[str | None, ...],
        *,
        scope: Scope,
        platform: Platform,
        resources: bytes = b"",
        folders: Mapping[str, Mapping[str, bytes]] | None = None,
        refs: Sequence[Ref | None] | None = None,
    ) -> Given:
        """`resources`: marshaled pb.LinuxResources. What has to be given back stands in `stack`.

        `refs` of a step that keeps what it leaves in cache mounts: what the fleet calls its inputs.
        """
        parts = self._parts
        values: dict[int, bytes] = {}
        sockets: dict[int, str] = {}
        caches: dict[int, str] = {}
        taken: dict[str, str] = {}
        for planned in plan.mounts:
            match planned.tree:
                case SecretFile(secret=secret):
                    value = await self._secret(secret.id, secret.optional, scope)
                    if value is not None:
                        values[planned.index] = value
                case SshSocket(ssh=ssh):
                    if session := await parts.agents.find(ssh, scope.sessions):
                        sockets[planned.index] = await stack.enter_async_context(parts.agents.open(ssh, session))
                case CacheDir() as tree:
                    name = f"{tree.id}:{None if tree.input is None else inputs[tree.input]}"
                    if name not in taken:  # within one step equal ids are one directory
                        wish = _wish(tree, f"cached mount {planned.dest} from exec {' '.join(op.meta.args)}", scope, inputs, refs)
                        taken[name] = await stack.enter_async_context(parts.caches.use(wish))
                    caches[planned.index] = taken[name]
        return Given(
            id=secrets.token_hex(12),
            lease=scope.lease,
            inputs=inputs,
            secrets=values,
            sockets=sockets,
            caches=caches,
            secret_env=await self.secret_env(op, scope),
            netns=await stack.enter_async_context(
                parts.networks.of(op.network).lend(op.meta.hostname, trusted=op.security is SecurityMode.SANDBOX)
            ),
            resources=_resources(resources),
            emulator=self._emulator(platform),
            devices=await self._devices(op, scope),
            folders=folders or {},
        )

    async def _devices(self, op: ExecOp, scope: Scope) -> Sequence[HostDevice]:
        """Of this machine. Raises BuildFailed for those that are not here, or not allowed."""
        if not op.devices:
            return ()
        return (await self._parts.threads.do(self._parts.cdi.devices)).allowed(op.devices, scope.entitlements)

    async def _secret(self, id: str, optional: bool, scope: Scope) -> bytes | None:
        try:
            return await get_secret(self._parts.links, scope.sessions, id)
        except NotFound:
            if optional:
                return None
            raise

    async def secret_env(self, op: ExecOp, scope: Scope) -> tuple[str, ...]:
        """Secrets as variables. Raises InvalidInput for one without an id."""
        found = []
        for variable in op.secret_env:
            if not variable.id:
                raise InvalidInput(f'secret ID missing for "{variable.name}" environment variable')
            value = await self._secret(variable.id, variable.optional, scope)
            found.append(f"{variable.name}={(value or b'').decode('utf-8', 'surrogateescape')}")
        return tuple(found)

    def _emulator(self, platform: Platform) -> str:
        """Path of the emulator a foreign platform needs; "" = none needed or none there (then the process fails by itself)."""
        wanted = platform.normalized()
        if not wanted.architecture or wanted in self._parts.platforms:
            return ""
        native = [p for p in self._parts.platforms if p.architecture == wanted.architecture]
        if native:
            if wanted.architecture == "amd64" and wanted.variant not in ("", "v2"):
                raise BuildFailed(f"no support for running processes with linux/amd64/{wanted.variant} platform")
            return ""
        return emulator_of(wanted.architecture)


def _wish(tree: CacheDir, description: str, scope: Scope, inputs: Sequence[str | None], refs: Sequence[Ref | None] | None) -> Wish:
    known = refs[tree.input] if refs is not None and tree.input is not None else None
    return Wish(
        id=tree.id,
        sharing=tree.sharing,
        description=description,
        scope=scope,
        base=None if tree.input is None else inputs[tree.input],
        base_ref=known.id if known is not None else "",
        keeps=refs is not None,
    )


def _resources(data: bytes) -> Resources | None:
    if not data:
        return None
    message = ops_pb2.LinuxResources.FromString(data)
    return Resources(
        memory=message.memory,
        memory_swap=message.memorySwap,
        cpu_shares=message.cpuShares,
        cpu_period=message.cpuPeriod,
        cpu_quota=message.cpuQuota,
        cpuset_cpus=message.cpusetCpus,
        cpuset_mems=message.cpusetMems,
    )
