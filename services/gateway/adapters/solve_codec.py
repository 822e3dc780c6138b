"""moby.buildkit.v1.SolveRequest → the core's request → the bus message."""

from collections.abc import Iterable
from typing import Any

from services.gateway.core.solve_request import Part, SolveRequest, parse_attestations
from shared.bridge.codec import definition_bytes, definitions
from shared.pb import control_pb2
from shared.wire.build import SolveBuild, TypedAttrs


def read_solve_request(message: control_pb2.SolveRequest) -> SolveRequest:
    """Field by field; an absent submessage is empty bytes."""
    cache = message.Cache
    return SolveRequest(
        ref=message.Ref,
        session=message.Session,
        definition=definition_bytes(message.Definition),
        scratch=message.HasField("Definition") and not getattr(message.Definition, "def"),
        frontend=message.Frontend,
        frontend_attrs=dict(message.FrontendAttrs),
        frontend_inputs=definitions(message.FrontendInputs),
        exporters=parts(message.Exporters),
        legacy_exporter=Part(type=message.ExporterDeprecated, attrs=dict(message.ExporterAttrsDeprecated)),
        cache_exports=parts(cache.Exports),
        cache_imports=parts(cache.Imports),
        legacy_export_ref=cache.ExportRefDeprecated,
        legacy_export_attrs=dict(cache.ExportAttrsDeprecated),
        legacy_import_refs=tuple(cache.ImportRefsDeprecated),
        entitlements=tuple(message.Entitlements),
        internal=message.Internal,
        source_policy=message.SourcePolicy.SerializeToString(),
        source_policy_session=message.SourcePolicySession,
        enable_session_exporter=message.EnableSessionExporter,
        compatibility_version=message.CompatibilityVersion,
        proxy_network=message.ProxyNetwork,
    )


def build_message(request: SolveRequest, *, identity: str) -> SolveBuild:
    """The canonical request as work for a solver."""
    return SolveBuild(
        ref=request.ref,
        session=request.session,
        frontend=request.frontend,
        frontend_opts=request.frontend_attrs,
        frontend_inputs=request.frontend_inputs,
        definition=request.definition,
        scratch=request.scratch,
        exporters=_typed(request.exporters),
        cache_exports=_typed(request.cache_exports),
        cache_imports=_typed(request.cache_imports),
        entitlements=tuple(request.entitlements),
        attestations=parse_attestations(request.frontend_attrs),
        internal=request.internal,
        session_exporter=request.enable_session_exporter,
        source_policy=request.source_policy,
        source_policy_session=request.source_policy_session,
        compatibility_version=request.compatibility_version,
        proxy_network=request.proxy_network,
        identity=identity,
    )


def parts(messages: Iterable[Any]) -> tuple[Part, ...]:
    """Anything with Type and Attrs."""
    return tuple(Part(type=m.Type, attrs=dict(m.Attrs)) for m in messages)


def _typed(found: Iterable[Part]) -> tuple[TypedAttrs, ...]:
    return tuple(TypedAttrs(type=p.type, attrs=p.attrs) for p in found)
