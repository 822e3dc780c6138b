"""Configuration of the exporter service."""

from dataclasses import dataclass, field

from shared.registry.hosts import RegistryHosts


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterConfig:
    """`registries`: settings per registry host (mirrors, http, insecure, certificates); the same as the executors'."""

    registries: RegistryHosts = field(default_factory=RegistryHosts)
