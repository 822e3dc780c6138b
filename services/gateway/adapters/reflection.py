"""gRPC reflection v1 and v1alpha: which services there are and how their messages look."""

import importlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from google.protobuf.descriptor import FileDescriptor

from shared.rpc import Call, Handler, bidi

_NOT_FOUND = 5
_TRACE_MODULE = "opentelemetry.proto.collector.trace.v1.trace_service_pb2"


def routes(services: Sequence[str]) -> Mapping[str, Handler]:
    """Both versions; `services` are the full names that are listed."""
    return {
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo": _handler(f"shared.pb.reflection_{version}_pb2", services)
        for version in ("v1", "v1alpha")
    }


def _handler(module_name: str, services: Sequence[str]) -> Handler:
    """The module is loaded when first asked: hardly anybody does, and start-up counts."""

    async def handle(call: Call) -> None:
        pb = importlib.import_module(module_name)
        importlib.import_module(_TRACE_MODULE)  # its descriptors are part of what we serve

        async def answers(requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
            async for request in requests:
                yield answer(pb, request, services)

        await bidi(answers, pb.ServerReflectionRequest)(call)

    return handle


def answer(pb: ModuleType, request: Any, services: Sequence[str]) -> Any:
    """One answer; errors are part of the protocol."""
    response = pb.ServerReflectionResponse(valid_host=request.host, original_request=request)
    kind = request.WhichOneof("message_request")
    try:
        match kind:
            case "list_services":
                response.list_services_response.service.extend(pb.ServiceResponse(name=name) for name in services)
            case "file_by_filename":
                _add_files(response, lambda pool: pool.FindFileByName(request.file_by_filename))
            case "file_containing_symbol":
                _add_files(response, lambda pool: pool.FindFileContainingSymbol(request.file_containing_symbol))
            case _:
                raise KeyError(str(kind))
    except KeyError as error:
        response.error_response.error_code = _NOT_FOUND
        response.error_response.error_message = f"not found: {str(error)[:200]}"
    return response


def _add_files(response: Any, find: Callable[[Any], FileDescriptor]) -> None:
    """The file and everything it imports, so that a client needs no second question."""
    from google.protobuf.descriptor_pool import Default

    pending, seen = [find(Default())], set[str]()
    while pending:
        found = pending.pop()
        if found.name not in seen:
            seen.add(found.name)
            response.file_descriptor_response.file_descriptor_proto.append(found.serialized_pb)
            pending += found.dependencies
