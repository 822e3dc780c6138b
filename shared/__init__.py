"""Floors that all six services stand on, low to high.

model → errors → pb → wire | llb | oci | fsutil | http2 → bus | rpc | blobs | session | registry | telemetry → run.
A floor imports only lower ones; import-linter checks it (pyproject.toml).
"""

__all__: list[str] = []
