"""Cache configs (`application/vnd.buildkit.cacheconfig.v0`) and the inline form in image configs (cache/remotecache/v1 of BuildKit).

A layer's parent 0 is left out when written, so a missing one means 0; -1 = none. Whoever reads one trusts nothing in it.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.model import CacheEntry, CacheInput, Digest, Layer, is_digest
from shared.oci.descriptor import Descriptor
from shared.oci.go_json import go_json

CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
INLINE_KEY = "moby.buildkit.cache.v0"
UNCOMPRESSED = "containerd.io/uncompressed"
CREATED_AT = "buildkit/createdat"
MAX_RECORDS = 20_000


def _time(ns: int) -> str:
    """RFC 3339 with as many digits as needed, as Go writes time.Time."""
    seconds, rest = divmod(ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{text}{fraction}Z"


def parse_time(text: object) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time in UTC; 0 for what is none."""
    if not isinstance(text, str):
        return 0
    head, dot, rest = text.partition(".")
    digits = "".join(c for c in rest[:9] if c.isdigit()) if dot else ""
    try:
        moment = datetime.fromisoformat(head.removesuffix("Z")[:19]).replace(tzinfo=UTC)
    except ValueError:
        return 0
    return int(moment.timestamp()) * 1_000_000_000 + int(digits.ljust(9, "0") or 0)


def layer_descriptor(layer: Layer) -> Descriptor:
    """How a layer stands in a cache manifest: its annotations carry what its blob doesn't say."""
    annotations = {UNCOMPRESSED: str(layer.diff_id)}
    if layer.created_at:
        annotations[CREATED_AT] = _time(layer.created_at)
    return Descriptor(media_type=layer.media_type, digest=layer.digest, size=layer.size, annotations=annotations)


def descriptor_layer(descriptor: Descriptor, *, source: str) -> Layer | None:
    """The layer that a descriptor of a cache manifest names; None when it doesn't say its diff id."""
    diff_id = descriptor.annotations.get(UNCOMPRESSED, "")
    if not is_digest(diff_id):
        return None
    return Layer(
        digest=descriptor.digest,
        diff_id=Digest(diff_id),
        size=descriptor.size,
        media_type=descriptor.media_type,
        source=source,
        created_at=parse_time(descriptor.annotations.get(CREATED_AT)),
    )


# --- writing


def encode_config(entries: Sequence[CacheEntry]) -> tuple[bytes, tuple[Layer, ...]]:
    """(the config, its layers in the order in which it numbers them)."""
    chains = _Chains()
    tops = [chains.add(entry.layers) if entry.layers else -1 for entry in entries]
    records = [
        _record(entry, [{"layer": top, "createdAt": _time(entry.created_at)}] if top >= 0 else [], [])
        for entry, top in zip(entries, tops, strict=True)
    ]
    document: dict[str, Any] = {}
    if chains.rows:
        document["layers"] = [{"blob": layer.digest, **({"parent": parent} if parent else {})} for layer, parent in chains.rows]
    if records:
        document["records"] = records
    return go_json(document), tuple(dict.fromkeys(layer for layer, _ in chains.rows))


def encode_inline(entries: Sequence[CacheEntry], image: Sequence[Layer]) -> bytes:
    """The records for an image with these layers; empty when no result is made of them."""
    places: dict[Digest, int] = {}
    for index, layer in enumerate(image):
        places.setdefault(layer.digest, index)
        places.setdefault(layer.diff_id, index)
    records = []
    useful = False
    for entry in entries:
        where = [places.get(layer.digest, places.get(layer.diff_id, -1)) for layer in entry.layers]
        results: list[dict[str, Any]] = []
        chained: list[dict[str, Any]] = []
        if where and -1 not in where:
            useful = True
            if where == list(range(len(where))):
                results = [{"layer": where[-1], "createdAt": _time(entry.created_at)}]
            else:
                chained = [{"layers": where, "createdAt": _time(entry.created_at)}]
        records.append(_record(entry, results, chained))
    return go_json(records) if useful else b""


def _record(entry: CacheEntry, results: list[dict[str, Any]], chained: list[dict[str, Any]]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    if results:
        record["layers"] = results
    if chained:
        record["chains"] = chained
    record["digest"] = entry.digest
    if entry.inputs:
        record["inputs"] = [[_input(name) for name in names] for names in entry.inputs]
    return record


def _input(name: CacheInput) -> dict[str, Any]:
    return ({"selector": name.selector} if name.selector else {}) | {"link": name.entry}


class _Chains:
    """Layers with parents; equal chains share their rows."""

    def __init__(self) -> None:
        self.rows: list[tuple[Layer, int]] = []
        self._known: dict[tuple[Digest, int], int] = {}

    def add(self, layers: Sequence[Layer]) -> int:
        """The row of the top layer."""
        parent = -1
        for layer in layers:
            key = (layer.digest, parent)
            if key not in self._known:
                self._known[key] = len(self.rows)
                self.rows.append((layer, parent))
            parent = self._known[key]
        return parent


# --- reading


def decode_config(data: bytes, layers: Mapping[Digest, Layer]) -> tuple[CacheEntry, ...]:
    """Raises ValueError for what is no cache config. Results with layers that are not given are left out."""
    document = _parsed(data)
    if not isinstance(document, dict):
        raise ValueError("invalid cache config: not an object")
    rows = [_row(value) for value in _list(document.get("layers"))]
    return _entries(document.get("records"), lambda record: _result(record, rows, layers))


def decode_inline(data: bytes, image: Sequence[Layer]) -> tuple[CacheEntry, ...]:
    """The records of an image config, for an image with these layers. Raises ValueError."""
    rows = [(layer.digest, index - 1) for index, layer in enumerate(image)]
    return _entries(_parsed(data), lambda record: _result(record, rows, {layer.digest: layer for layer in image}))


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("invalid cache config: no JSON") from None


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_RECORDS:
        raise ValueError("invalid cache config: not a list, or too long a one")
    return value


def _row(value: Any) -> tuple[Digest, int]:
    blob = value.get("blob") if isinstance(value, dict) else None
    parent = value.get("parent", 0) if isinstance(value, dict) else None
    if not isinstance(blob, str) or not is_digest(blob) or type(parent) is not int:
        raise ValueError("invalid cache config: bad layer")
    return Digest(blob), parent


def _result(record: Mapping[str, Any], rows: Sequence[tuple[Digest, int]], layers: Mapping[Digest, Layer]) -> tuple[tuple[Layer, ...], int]:
    """(layers, created) of the first result that can be had; no layers = none."""
    for value in _list(record.get("layers")):
        chain = _chain(value.get("layer") if isinstance(value, dict) else None, rows)
        if all(blob in layers for blob in chain):
            return tuple(layers[blob] for blob in chain), parse_time(value.get("createdAt"))
    for value in _list(record.get("chains")):
        indexes = _list(value.get("layers") if isinstance(value, dict) else None)
        if not all(type(i) is int and 0 <= i < len(rows) for i in indexes):
            raise ValueError("invalid cache config: layer index out of range")
        if indexes and all(rows[i][0] in layers for i in indexes):
            return tuple(layers[rows[i][0]] for i in indexes), parse_time(value.get("createdAt"))
    return (), 0


def _chain(top: Any, rows: Sequence[tuple[Digest, int]]) -> list[Digest]:
    chain: list[Digest] = []
    index = top
    while index != -1:
        if type(index) is not int or not 0 <= index < len(rows) or len(chain) > len(rows):
            raise ValueError("invalid cache config: layer index out of range, or a loop")
        blob, index = rows[index]
        chain.append(blob)
    return chain[::-1]


def _entries(records: Any, result: Any) -> tuple[CacheEntry, ...]:
    """Inputs before what follows from them. Raises ValueError for loops and for links out of range."""
    values = _list(records)
    order = _ordered(values)
    place = {index: position for position, index in enumerate(order)}
    out = []
    for index in order:
        record = values[index]
        layers, created = result(record)
        inputs = tuple(tuple(_named(name, place) for name in _list(names)) for names in _list(record.get("inputs")))
        out.append(CacheEntry(digest=record["digest"], inputs=inputs, layers=layers, created_at=created))
    return tuple(out)


def _named(name: Mapping[str, Any], place: Mapping[int, int]) -> CacheInput:
    selector = name.get("selector", "")
    if not isinstance(selector, str) or len(selector) > 200:
        raise ValueError("invalid cache config: bad selector")
    return CacheInput(entry=place[name["link"]], selector=selector)


def _links(record: Any, count: int) -> list[int]:
    if not isinstance(record, dict) or not isinstance(record.get("digest"), str) or not is_digest(record["digest"]):
        raise ValueError("invalid cache config: bad record")
    found = []
    for names in _list(record.get("inputs")):
        for name in _list(names):
            link = name.get("link") if isinstance(name, dict) else None
            if type(link) is not int or not 0 <= link < count:
                raise ValueError("invalid cache config: link out of range")
            found.append(link)
    return found


def _ordered(values: Sequence[Any]) -> list[int]:
    state: dict[int, bool] = {}
    order: list[int] = []
    for start in range(len(values)):
        stack = [(start, False)]
        while stack:
            index, leaving = stack.pop()
            if leaving:
                state[index] = True
                order.append(index)
            elif index not in state:
                state[index] = False
                stack.append((index, True))
                for link in _links(values[index], len(values)):
                    if state.get(link) is False:
                        raise ValueError("invalid cache config: records that follow from themselves")
                    if link not in state:
                        stack.append((link, False))
    return order
