"""ExecOp: a process in a container over snapshots (solver/llbsolver/ops/exec.go, executor/runcexecutor)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

from services.executor.adapters.exec_bundle import Bundle, Given
from services.executor.adapters.exec_given import ExecParts, Gathering
from services.executor.adapters.runc import Exit, runtime_error
from services.executor.adapters.step_log import StepLog
from services.executor.core.exit import exit_error
from services.executor.core.mounts import MountPlan, Output, plan_mounts
from services.executor.ports import Reporter
from shared.errors import BuildmeshError, Unsupported, left_detail
from shared.llb import ExecOp
from shared.model import Ref
from shared.wire.messages import RunOp

__all__ = ["ExecRunner"]


class ExecRunner:
    """Runs ExecOps."""

    def __init__(self, parts: ExecParts) -> None:
        self._parts = parts
        self._gathering = Gathering(parts)

    async def run(self, op: ExecOp, request: RunOp, inputs: Sequence[str | None], report: Reporter) -> tuple[str | None, ...]:
        """Snapshot ids by output. Errors: BuildFailed when the process fails, with what it left as detail."""
        if request.proxy_network:
            raise Unsupported("the proxy network is not available on this executor")
        plan = plan_mounts(op.mounts, op.meta.cwd, tuple(id is not None for id in inputs))
        async with AsyncExitStack() as stack:
            await self._parts.caches.empty(request.scope.lease, request.prune_mounts)
            given = await self._gathering.gather(
                stack,
                op,
                plan,
                tuple(inputs),
                scope=request.scope,
                platform=request.platform,
                resources=request.resources,
                refs=request.inputs,
            )
            return await self._step(op, plan, given, request, report)

    async def _step(self, op: ExecOp, plan: MountPlan, given: Given, request: RunOp, report: Reporter) -> tuple[str | None, ...]:
        parts, bundle = self._parts, self._parts.bundles.new(given.id)
        log = StepLog(report, parts.limits, echo=parts.echo)
        try:
            await parts.threads.finish(parts.bundles.fill, bundle, op, plan, given)
            ended = await parts.runc.run(given.id, bundle.path, bundle.spec, log.write)
            self._never_began(bundle, ended, log)
        except BaseException:
            await parts.threads.finish(parts.abandon, bundle)
            raise
        failure = exit_error(op.meta.args, ended.code, op.meta.valid_exit_codes, out_of_memory=ended.out_of_memory)
        if failure is None:
            return await parts.threads.finish(self._commit, bundle, plan, given)
        log.failed()
        await parts.threads.finish(self._keep_for_debugging, bundle, op, request, failure)
        raise failure

    def _never_began(self, bundle: Bundle, ended: Exit, log: StepLog) -> None:
        """What only the runtime's own log says is shown as output of the step, once."""
        if ended.code and not log.said(2) and (text := runtime_error(bundle.path)):
            log.write(2, f"{text}\n".encode())

    # --- after (in a pool thread) ---------------------------------------------------------------------------------------------

    def _commit(self, bundle: Bundle, plan: MountPlan, given: Given) -> tuple[str | None, ...]:
        try:
            self._parts.take_down(bundle)
        except BaseException:
            self._parts.abandon(bundle)
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

    def _keep_for_debugging(self, bundle: Bundle, op: ExecOp, request: RunOp, failure: BuildmeshError) -> None:
        """Clients can open a container over what a failed step left: commit it, and say which snapshots these are."""
        self._parts.take_down(bundle)
        inputs = [request.inputs[m.input] if 0 <= m.input < len(request.inputs) else None for m in op.mounts]
        left = {index: Ref(id=self._parts.store.commit(id).id, home=self._parts.home) for index, id in bundle.children.items()}
        failure.with_details(left_detail(inputs, [left.get(index, ref) for index, ref in enumerate(inputs)]))
