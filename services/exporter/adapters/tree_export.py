"""local and tar exports: the executor that holds the trees sends them; this decides which goes where."""

from services.exporter.adapters.executors import send_trees
from services.exporter.adapters.relay import Relay
from services.exporter.core import epoch as epochs
from services.exporter.core.options import Options
from services.exporter.core.platforms import result_platforms
from services.exporter.core.tree_export import check_targets
from services.exporter.core.trees import planned_trees
from shared.bus.calls import Calls
from shared.wire.messages import ExportDone, RunExport, SendTrees, Tree


async def export_trees(calls: Calls, request: RunExport, options: Options, relay: Relay) -> ExportDone:
    """The answer has no response keys. Raises InvalidInput for results that have no place to go."""
    result = request.result
    targets = result_platforms(result.metadata, request.platform)
    check_targets(targets, result.metadata, result.refs, is_map=result.is_map)
    trees = planned_trees(options, targets, result.ref, result.refs, is_map=result.is_map)
    epoch = epochs.choose(options.epoch, result.metadata, targets[0].id)
    await send_trees(
        calls,
        SendTrees(
            kind=options.kind.value,
            trees=tuple(Tree(ref=t.ref, prefix=t.prefix, status_id=t.status_id) for t in trees),
            session=request.session,
            exporter_id=request.index,
            vertex=request.vertex,
            scope=request.scope,
            mode=options.mode,
            epoch=-1 if epoch is None else epoch,
        ),
        relay,
    )
    return ExportDone()
