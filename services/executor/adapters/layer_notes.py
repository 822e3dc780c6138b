"""What is noted with a snapshot of the blob that its layer came from, or was packed as."""

import json
from dataclasses import asdict

from shared.model import Layer

__all__ = ["LAYER_NOTE", "TRANSPORT_NOTE", "decode_layer", "encode_layer"]

LAYER_NOTE = "layer"
TRANSPORT_NOTE = "layer.transport"


def encode_layer(layer: Layer) -> bytes:
    """As kept in the note of a snapshot whose layer blob is known."""
    return json.dumps(asdict(layer)).encode()


def decode_layer(note: bytes) -> Layer:
    """Raises ValueError or TypeError for what is no such note."""
    fields = json.loads(note)
    return Layer(**{**fields, "urls": tuple(fields.get("urls", ()))})
