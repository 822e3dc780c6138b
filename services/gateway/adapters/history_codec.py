"""Build records ↔ moby.buildkit.v1.BuildHistoryRecord, which is also how they are stored."""

from google.rpc import status_pb2

from services.gateway.adapters.solve_codec import parts
from services.gateway.adapters.status_codec import nanoseconds, timestamp
from services.gateway.core.history import Blob, BuildRecord, Outcome
from shared.pb import control_pb2


def record_message(record: BuildRecord) -> control_pb2.BuildHistoryRecord:
    """The record as clients see it."""
    message = control_pb2.BuildHistoryRecord(
        Ref=record.ref,
        Frontend=record.frontend,
        FrontendAttrs=record.frontend_attrs,
        Exporters=[control_pb2.Exporter(Type=e.type, Attrs=e.attrs) for e in record.exporters],
        CreatedAt=timestamp(record.created_at),
        CompletedAt=timestamp(record.completed_at),
        logs=_descriptor(record.logs),
        trace=_descriptor(record.trace),
        externalError=_descriptor(record.external_error),
        ExporterResponse=record.exporter_response,
        Result=_outcome(record.result) if record.result else None,
        Generation=record.generation,
        pinned=record.pinned,
        numCachedSteps=record.cached_steps,
        numTotalSteps=record.total_steps,
        numCompletedSteps=record.completed_steps,
        numWarnings=record.warnings,
    )
    if record.error is not None:
        message.error.CopyFrom(status_pb2.Status(code=record.error[0], message=record.error[1]))
    for platform, outcome in record.results.items():
        message.Results[platform].CopyFrom(_outcome(outcome))
    return message


def read_record(message: control_pb2.BuildHistoryRecord) -> BuildRecord:
    """The reverse."""
    return BuildRecord(
        ref=message.Ref,
        frontend=message.Frontend,
        frontend_attrs=dict(message.FrontendAttrs),
        exporters=parts(message.Exporters),
        created_at=nanoseconds(message.CreatedAt),
        completed_at=nanoseconds(message.CompletedAt),
        error=(message.error.code, message.error.message) if message.HasField("error") else None,
        logs=_blob(message.logs) if message.HasField("logs") else None,
        trace=_blob(message.trace) if message.HasField("trace") else None,
        external_error=_blob(message.externalError) if message.HasField("externalError") else None,
        exporter_response=dict(message.ExporterResponse),
        result=_read_outcome(message.Result) if message.HasField("Result") else None,
        results={platform: _read_outcome(found) for platform, found in message.Results.items()},
        generation=message.Generation,
        pinned=message.pinned,
        cached_steps=message.numCachedSteps,
        total_steps=message.numTotalSteps,
        completed_steps=message.numCompletedSteps,
        warnings=message.numWarnings,
    )


def _descriptor(blob: Blob | None) -> control_pb2.Descriptor | None:
    if blob is None:
        return None
    return control_pb2.Descriptor(media_type=blob.media_type, digest=blob.digest, size=blob.size, annotations=blob.annotations)


def _blob(message: control_pb2.Descriptor) -> Blob:
    return Blob(media_type=message.media_type, digest=message.digest, size=message.size, annotations=dict(message.annotations))


def _outcome(outcome: Outcome) -> control_pb2.BuildResultInfo:
    found = control_pb2.BuildResultInfo(Attestations=[d for d in map(_descriptor, outcome.attestations) if d is not None])
    for index, blob in sorted(outcome.results.items()):
        found.Results[index].CopyFrom(_descriptor(blob) or control_pb2.Descriptor())
    if outcome.results:  # older clients read the first one here
        found.ResultDeprecated.CopyFrom(found.Results[min(outcome.results)])
    return found


def _read_outcome(message: control_pb2.BuildResultInfo) -> Outcome:
    return Outcome(
        attestations=tuple(_blob(a) for a in message.Attestations),
        results={index: _blob(found) for index, found in message.Results.items()},
    )
