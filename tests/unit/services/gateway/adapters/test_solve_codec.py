"""SolveRequest to bus message."""

from services.gateway.adapters.solve_codec import build_message, read_solve_request
from services.gateway.core.solve_request import Part, canonical
from shared.pb import control_pb2, ops_pb2
from shared.wire.build import TypedAttrs


def request() -> control_pb2.SolveRequest:
    message = control_pb2.SolveRequest(
        Ref="abc",
        Session="s1",
        Frontend="dockerfile.v0",
        FrontendAttrs={"target": "x"},
        ExporterDeprecated="oci",
        Exporters=[control_pb2.Exporter(Type="image", Attrs={"name": "n"})],
        Cache=control_pb2.CacheOptions(
            ImportRefsDeprecated=["r/c"], Imports=[control_pb2.CacheOptionsEntry(Type="local", Attrs={"src": "d"})]
        ),
        Internal=True,
        ProxyNetwork=True,
    )
    getattr(message.FrontendInputs["empty"], "def")
    getattr(message.FrontendInputs["in"], "def").append(b"op")
    return message


def test_every_field_arrives() -> None:
    """Through the core's form to the solver's."""
    found = build_message(canonical(read_solve_request(request()), allowed_entitlements=()), identity="cn")

    assert (found.ref, found.session, found.frontend, found.internal) == ("abc", "s1", "dockerfile.v0", True)
    assert found.exporters == (TypedAttrs(type="image", attrs={"name": "n"}),)
    assert found.cache_imports == (TypedAttrs(type="local", attrs={"src": "d"}), TypedAttrs(type="registry", attrs={"ref": "r/c"}))
    assert (found.proxy_network, found.identity, found.compatibility_version) == (True, "cn", 30)
    assert found.frontend_inputs["empty"] == b""
    assert getattr(ops_pb2.Definition.FromString(found.frontend_inputs["in"]), "def") == [b"op"]


def test_absent_parts_are_empty() -> None:
    """No cache options, no definition, no policy."""
    found = read_solve_request(control_pb2.SolveRequest(Ref="abc"))

    assert (found.definition, found.source_policy, found.cache_exports, found.legacy_exporter) == (b"", b"", (), Part(type=""))
