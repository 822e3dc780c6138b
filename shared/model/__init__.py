"""Nouns of the field as frozen values: digest, platform, ref, layer, progress events.

Nothing here does I/O, nothing here knows a codec. Everything may import this floor.
"""

from shared.model.cache_chain import CacheEntry, CacheInput
from shared.model.cache_mount import KeptMount
from shared.model.digest import Digest, is_digest, parse_digest, sha256_digest
from shared.model.ident import is_safe_id, require_safe_id
from shared.model.platform import Platform, format_platform, parse_platform, parse_specifier
from shared.model.progress import LogChunk, ProgressGroup, SourceInfo, SourcePosition, SourceRange, Status, VertexEvent, Warn
from shared.model.ref import Layer, Ref

__all__ = [
    "CacheEntry",
    "CacheInput",
    "Digest",
    "KeptMount",
    "Layer",
    "LogChunk",
    "Platform",
    "ProgressGroup",
    "Ref",
    "SourceInfo",
    "SourcePosition",
    "SourceRange",
    "Status",
    "VertexEvent",
    "Warn",
    "format_platform",
    "is_digest",
    "is_safe_id",
    "parse_digest",
    "parse_platform",
    "parse_specifier",
    "require_safe_id",
    "sha256_digest",
]
