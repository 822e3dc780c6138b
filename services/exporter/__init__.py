"""Exporter: results → images, OCI and docker archives, registry pushes, local files.

It coordinates: executors that hold the data pack layers and send trees, the exporter makes configs, manifests and archives,
pushes to registries and streams to the client's session. It never mounts a snapshot.

Answers on `call.exporter`: CheckExport, RunExport, FinalizeExport. Public to Python: `service.run(config, mesh)`.
"""

__all__: list[str] = []
