"""Protobuf and gRPC towards clients, messages and blobs towards the mesh. No decisions: those are in core."""

__all__: list[str] = []
