"""local and tar exports: the executor that holds the trees sends them; this decides which goes where."""

from services.exporter.adapters.attestation_reader import AttestationReader, is_inline_only
from services.exporter.adapters.executors import file_digests, send_trees
from services.exporter.adapters.relay import Relay
from services.exporter.core import epoch as epochs
from services.exporter.core.attestations import Subject, statement_files
from services.exporter.core.options import Options
from services.exporter.core.tree_export import check_targets
from services.exporter.core.trees import PlannedTree, planned_trees
from shared.bus.calls import Calls
from shared.oci.result_platforms import result_platforms
from shared.wire.messages import ExportDone, ExtraFile, RunExport, SendTrees, Tree


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
            trees=tuple([await _tree(calls, request, options, planned, relay) for planned in trees]),
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


async def _tree(calls: Calls, request: RunExport, options: Options, planned: PlannedTree, relay: Relay) -> Tree:
    """With what is attested of it as files."""
    wanted = [a for a in request.result.attestations.get(planned.platform_id, ()) if not is_inline_only(a)]
    if not wanted:
        return Tree(ref=planned.ref, prefix=planned.prefix, status_id=planned.status_id)
    predicates = await AttestationReader(calls, request.scope).read(wanted)
    ref = planned.ref
    digests = await file_digests(calls, ref, request.vertex, request.scope, relay) if ref is not None else {}
    own = [Subject(name=path, digests={"sha256": digest.partition(":")[2]}) for path, digest in digests.items()]
    named_after = planned.platform_id if planned.shared else ""
    files = statement_files(predicates, own, prefix=options.attestation_prefix, platform_id=named_after)
    extra = tuple(ExtraFile(path=name, data=data) for name, data in files)
    return Tree(ref=ref, prefix=planned.prefix, status_id=planned.status_id, extra=extra)
