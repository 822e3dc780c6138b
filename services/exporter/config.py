"""Configuration of the exporter service."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterConfig:
    """`parallel`: exports at a time in this process; more wait. `push_parallel`: blobs of one push in flight (per registry host 4 at most)."""

    parallel: int = 16
    push_parallel: int = 4
