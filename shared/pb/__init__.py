"""Generated protobuf modules of the public APIs; made from shared/proto by `make proto`, never edited.

One module per API file, so that a caller loads only what it speaks. Only codecs and adapters may
import from here (see the import contracts). Trace export uses the PyPI package opentelemetry-proto
and google.rpc.Status the one named googleapis-common-protos, so that no symbol is defined twice.
"""

__all__: list[str] = []
