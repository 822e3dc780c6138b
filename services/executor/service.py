"""Wires the executor (the lead writes this, with adapters/{tasks,housekeeping,presence,materialise,reporter}.py; exec-run: op runners).

What it expects of the op runners (adapters/ops_exec.py, ops_file.py, ops_stack.py), one class each, made with their ports:
`async def run(self, op: shared.llb op value, request: RunOp, inputs: tuple[str | None, ...], report: Reporter) -> tuple[str | None, ...]`
where inputs and outputs are snapshot ids on this executor (None = scratch); outputs are committed and held under request.scope.lease.
"""
