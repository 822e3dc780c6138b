"""ExecOp: a process in a container over snapshots (solver/llbsolver/ops/exec.go, executor/runcexecutor)."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from services.executor.adapters.agent_sockets import AgentSockets
from services.executor.adapters.cache_dirs import CacheDirs
from services.executor.adapters.exec_bundle import Bundle, Bundles, Given
from services.executor.adapters.network import Networks
from services.executor.adapters.runc import Exit, Runc, runtime_error
from services.executor.adapters.step_log import StepLog
from services.executor.core.exit import exit_error
from services.executor.core.log_limit import LogLimits
from services.executor.core.mounts import CacheDir, MountPlan, Output, SecretFile, SshSocket, plan_mounts
from services.executor.ports import Reporter, SnapshotStore
from shared.blobs.threads import Pool
from shared.errors import BuildFailed, BuildmeshError, Detail, InvalidInput, NotFound, Unsupported
from shared.llb import ExecOp, SecurityMode
from shared.llb.definition import Resources
from shared.model import Platform
from shared.pb import ops_pb2
from shared.session.ports import SessionLinks
from shared.session.secrets import get_secret
from shared.wire.messages import RunOp, Scope

__all__ = ["EXEC_FAILURE", "ExecParts", "ExecRunner"]

EXEC_FAILURE = "buildmesh/ExecFailure+json"
"""Type URL of the detail of a failed step: JSON {inputs, mounts}, each a list of snapshot ids or null by mount index."""

_QEMU = {"amd64": "x86_64", "arm64": "aarch64", "386": "i386"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecParts:
    """What a runner of steps works with. `platforms` are those which need no emulator of ours."""

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
    echo: bool = False


class ExecRunner:
    """Runs ExecOps."""

    def __init__(self, parts: ExecParts) -> None:
        self._parts = parts

    async def run(self, op: ExecOp, request: RunOp, inputs: Sequence[str | None], report: Reporter) -> tuple[str | None, ...]:
        """Snapshot ids by output. Errors: BuildFailed when the process fails, with the snapshots it left as EXEC_FAILURE detail."""
        if request.proxy_network:
            raise Unsupported("the proxy network is not available on this executor")
        if op.devices and not all(device.optional for device in op.devices):
            raise BuildFailed(f'required device "{op.devices[0].name}" is not registered')
        plan = plan_mounts(op.mounts, op.meta.cwd, tuple(id is not None for id in inputs))
        async with AsyncExitStack() as stack:
            given = await self._gather(stack, op, plan, request, tuple(inputs))
            return await self._step(op, plan, given, report)

    async def _step(self, op: ExecOp, plan: MountPlan, given: Given, report: Reporter) -> tuple[str | None, ...]:
        parts, bundle = self._parts, self._parts.bundles.new(given.id)
        log = StepLog(report, parts.limits, echo=parts.echo)
        try:
            await parts.threads.finish(parts.bundles.fill, bundle, op, plan, given)
            ended = await parts.runc.run(given.id, bundle.path, bundle.spec, log.write)
            self._never_began(bundle, ended, log)
        except BaseException:
            await parts.threads.finish(self._abandon, bundle)
            raise
        failure = exit_error(op.meta.args, ended.code, op.meta.valid_exit_codes, out_of_memory=ended.out_of_memory)
        if failure is None:
            return await parts.threads.finish(self._commit, bundle, plan, given)
        log.failed()
        await parts.threads.finish(self._keep_for_debugging, bundle, op, given, failure)
        raise failure

    def _never_began(self, bundle: Bundle, ended: Exit, log: StepLog) -> None:
        """What only the runtime's own log says is shown as output of the step, once."""
        if ended.code and not log.said(2) and (text := runtime_error(bundle.path)):
            log.write(2, f"{text}\n".encode())

    # --- before ---------------------------------------------------------------------------------------------------------------

    async def _gather(self, stack: AsyncExitStack, op: ExecOp, plan: MountPlan, request: RunOp, inputs: tuple[str | None, ...]) -> Given:
        parts, scope = self._parts, request.scope
        await parts.caches.empty(scope.lease, request.prune_mounts)
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
                case CacheDir(id=id, sharing=sharing, input=source):
                    base = None if source is None else inputs[source]
                    name = f"{id}:{base}"
                    if name not in taken:  # within one step equal ids are one directory
                        description = f"cached mount {planned.dest} from exec {' '.join(op.meta.args)}"
                        taken[name] = await stack.enter_async_context(parts.caches.use(id, base, sharing, description))
                    caches[planned.index] = taken[name]
        return Given(
            id=secrets.token_hex(12),
            lease=scope.lease,
            inputs=inputs,
            secrets=values,
            sockets=sockets,
            caches=caches,
            secret_env=await self._secret_env(op, scope),
            netns=await stack.enter_async_context(
                parts.networks.of(op.network).lend(op.meta.hostname, trusted=op.security is SecurityMode.SANDBOX)
            ),
            resources=_resources(request.resources),
            emulator=self._emulator(request.platform),
        )

    async def _secret(self, id: str, optional: bool, scope: Scope) -> bytes | None:
        try:
            return await get_secret(self._parts.links, scope.sessions, id)
        except NotFound:
            if optional:
                return None
            raise

    async def _secret_env(self, op: ExecOp, scope: Scope) -> tuple[str, ...]:
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
        return shutil.which(f"buildkit-qemu-{_QEMU.get(wanted.architecture, wanted.architecture)}") or ""

    # --- after (in a pool thread) ---------------------------------------------------------------------------------------------

    def _take_down(self, bundle: Bundle) -> None:
        if bundle.spec:
            self._parts.runc.sweep(bundle.path.name, bundle.spec["linux"]["cgroupsPath"])
        self._parts.bundles.take_down(bundle)

    def _abandon(self, bundle: Bundle) -> None:
        try:
            self._take_down(bundle)
        finally:
            for id in bundle.children.values():
                self._parts.store.unclaim(id)

    def _commit(self, bundle: Bundle, plan: MountPlan, given: Given) -> tuple[str | None, ...]:
        try:
            self._take_down(bundle)
        except BaseException:
            self._abandon(bundle)
            raise
        outputs = tuple(self._output(bundle, output, given) for output in plan.outputs)
        kept = {id for id in outputs if id}
        for id in bundle.children.values():
            if id not in kept:
                self._parts.store.unclaim(id)
        return outputs

    def _output(self, bundle: Bundle, output: Output, given: Given) -> str | None:
        if output.scratch:
            return None
        if output.input is not None:
            return given.inputs[output.input]
        return self._parts.store.commit(bundle.children[output.mount]).id

    def _keep_for_debugging(self, bundle: Bundle, op: ExecOp, given: Given, failure: BuildmeshError) -> None:
        """Clients can open a container over what a failed step left: commit it, and say which snapshots these are."""
        self._take_down(bundle)
        inputs = [given.inputs[m.input] if 0 <= m.input < len(given.inputs) else None for m in op.mounts]
        left = {index: self._parts.store.commit(id).id for index, id in bundle.children.items()}
        mounts = [left.get(index, inputs[index]) for index in range(len(op.mounts))]
        value = json.dumps({"inputs": inputs, "mounts": mounts}).encode()
        failure.with_details(Detail(type_url=EXEC_FAILURE, value=value))


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
