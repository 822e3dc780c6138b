"""Caches from elsewhere and for elsewhere: what a build imports before it looks up keys, what it exports at its end.

An import that fails is shown and otherwise ignored; an export that fails fails the build, unless it says `ignore-error`.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.solver.ports import CacheTravel, Exports, ExportScope, Work
from services.solver.service.progress import Stream
from shared.errors import BuildFailed, BuildmeshError, Unsupported
from shared.model import CacheEntry, Digest
from shared.telemetry import Log
from shared.wire.messages import ChainNode, Compression, Scope, TypedAttrs

NAMES = {"registry": "exporting cache to registry", "local": "exporting cache to client directory"}
ELSEWHERE = ("gha", "s3", "azblob")
TRUE = ("1", "t", "T", "TRUE", "true", "True")


def check_cache_exports(options: Sequence[TypedAttrs]) -> None:
    """Refuse what can't be done before any work."""
    for option in options:
        if option.type in ELSEWHERE and _forgiving(option):
            continue  # shown as failed at the end
        if option.type in ELSEWHERE:
            raise Unsupported(f'cache export of type "{option.type}" is not supported by this server yet')
        if option.type not in (*NAMES, "inline"):
            raise BuildFailed(f'unknown cache exporter: "{option.type[:100]}"')


def imports_in(opts: Mapping[str, str]) -> tuple[TypedAttrs, ...]:
    """The `cache-imports` that a client hands to a frontend: JSON list of Type and Attrs; what is malformed is no import."""
    try:
        values = json.loads(opts.get("cache-imports", "[]"))
    except (ValueError, RecursionError):
        return ()
    found = []
    for value in values if isinstance(values, list) else ():
        kind, attrs = (value.get("Type"), value.get("Attrs") or {}) if isinstance(value, dict) else (None, {})
        if isinstance(kind, str) and isinstance(attrs, dict) and all(isinstance(v, str) for v in attrs.values()):
            found.append(TypedAttrs(type=kind, attrs={str(k): v for k, v in attrs.items()}))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRoads:
    """Where caches are read and written."""

    index: CacheTravel
    work: Work
    exports: Exports
    log: Log


class Caching:
    """The caches of one build."""

    def __init__(self, roads: CacheRoads, stream: Stream, session: str, scope: Scope) -> None:
        self._roads = roads
        self._stream = stream
        self._session = session
        self._scope = scope
        self._imports: dict[str, asyncio.Lock] = {}
        self._done: set[str] = set()

    async def bring(self, options: Sequence[TypedAttrs]) -> None:
        """Import each of these once per build; returns when all have been tried."""
        async with asyncio.TaskGroup() as tasks:
            for option in options:
                tasks.create_task(self._bring_one(option))

    async def _bring_one(self, option: TypedAttrs) -> None:
        name = _import_name(option)
        async with self._imports.setdefault(name, asyncio.Lock()):
            if name in self._done:
                return
            self._done.add(name)
            vertex = _digest(f"importing cache manifest from {name}")
            try:
                async with self._stream.step(vertex, f"importing cache manifest from {name}"):
                    entries = await self._roads.exports.import_cache(option, vertex, self._session, self._scope, self._stream.heard)
                    await self._roads.index.learn(entries)
            except BuildmeshError as error:
                self._roads.log.info("a cache could not be imported", cache=name, error=error.message)

    async def inline(self, keys: Mapping[str, Sequence[str]], image: Mapping[str, str]) -> dict[str, tuple[CacheEntry, ...]]:
        """By platform, what goes into the image config: results whose layers exist, compressed as the exporter's attributes ask for."""
        option = TypedAttrs(type="inline", attrs={key: value for key, value in image.items() if "compression" in key})
        return {platform: await self._entries(option, ids) for platform, ids in keys.items()}

    async def export(self, options: Sequence[TypedAttrs], keys: Sequence[str], where: ExportScope) -> dict[str, str]:
        """Write every cache but inline ones; the answers of all."""
        response: dict[str, str] = {}
        for index, option in enumerate(options):
            if option.type == "inline":
                continue
            vertex = _digest(f"{self._session}-cache-{index}")
            try:
                async with self._stream.step(vertex, NAMES.get(option.type, f"exporting cache to {option.type}")):
                    check_cache_exports([TypedAttrs(type=option.type)])
                    entries = await self._entries(option, keys)
                    done = await self._roads.exports.export_cache(option, entries, vertex, where, self._stream.heard)
            except BuildmeshError:
                if not _forgiving(option):
                    raise
            else:
                response |= {key: value for key, value in done.response.items() if key.startswith("cache.")}
        return response

    async def _entries(self, option: TypedAttrs, keys: Sequence[str]) -> tuple[CacheEntry, ...]:
        nodes = await self._roads.index.chain(list(dict.fromkeys(keys)))
        everything = option.attrs.get("mode") == "max"
        wanted = [everything or node.id in keys for node in nodes]
        made: dict[str, CacheEntry] = {}
        for node, want in sorted(zip(nodes, wanted, strict=True), key=lambda pair: not pair[1]):  # what they make counts for the rest
            made[node.id] = await self._with_layers(node, option, wanted=want)
        return tuple(made[node.id] for node in nodes)

    async def _with_layers(self, node: ChainNode, option: TypedAttrs, *, wanted: bool) -> CacheEntry:
        """A key with its result. Sources go along as keys only; what nobody asked for only if its blobs exist."""
        to_client = option.type == "local"  # the client needs the blobs themselves, and lazy ones are not fetched only for that
        if not node.has_record or node.ref is None or not node.entry.inputs or (to_client and not wanted):
            return node.entry
        compression, heard = compression_of(option.attrs), self._stream.heard
        try:
            layers = await self._roads.work.pack(node.ref, compression, self._scope, heard, only_known=not wanted)
        except BuildmeshError as error:
            self._roads.log.info("a result stays out of the exported cache", ref=node.ref.id, error=error.message)
            return node.entry
        return replace(node.entry, layers=layers, created_at=node.created_at)


def _forgiving(option: TypedAttrs) -> bool:
    return option.attrs.get("ignore-error", "") in TRUE


def compression_of(attrs: Mapping[str, str]) -> Compression:
    """What the attributes of an exporter ask for; gzip by default."""
    level = attrs.get("compression-level", "")
    return Compression(
        type=attrs.get("compression", "gzip") or "gzip",
        level=int(level) if level.lstrip("-").isdigit() else -1,
        force=attrs.get("force-compression", "") in TRUE,
    )


def _import_name(option: TypedAttrs) -> str:
    if option.type == "registry" and option.attrs.get("ref"):
        return option.attrs["ref"]
    text = json.dumps([option.type, sorted(option.attrs.items())])
    return f"{option.type}:{int(hashlib.sha256(text.encode()).hexdigest()[:16], 16)}"


def _digest(text: str) -> Digest:
    return Digest("sha256:" + hashlib.sha256(text.encode()).hexdigest())
