"""Build ops: the definition that is solved lies in a file of an input (solver/llbsolver/ops/build.go)."""

from collections.abc import Callable, Sequence

from services.solver.core.graph import LoadRules, load_graph
from services.solver.core.vertex import Output
from services.solver.ports import Files
from shared.errors import InvalidInput
from shared.llb import BuildOp, decode_definition
from shared.model import Ref
from shared.wire.messages import Scope

INPUT = "buildkit.llb.definition"
FILENAME_ATTR = "llbbuild.filename"
DEFAULT_FILENAME = "/buildkit.llb.definition"


class NestedBuilds:
    """Loads the definitions of build ops, with the rules of the builds that run them."""

    def __init__(self, files: Files, rules: Callable[[Sequence[str]], LoadRules]) -> None:
        self._files = files
        self._rules = rules

    async def load(self, op: BuildOp, inputs: Sequence[Ref | None], scope: Scope) -> Output | None:
        """The output to solve; None = scratch. Raises InvalidInput when there is no definition."""
        index = op.inputs.get(INPUT, -1)
        if not 0 <= index < len(inputs):
            raise InvalidInput(f"no llb definition input {INPUT} found")
        ref = inputs[index]
        path = op.attrs.get(FILENAME_ATTR, DEFAULT_FILENAME)
        if ref is None:
            raise InvalidInput(f"failed to open {path}: the input is empty")
        data = (await self._files.read(ref, path, scope)).data
        return load_graph(decode_definition(data), self._rules(scope.entitlements))
