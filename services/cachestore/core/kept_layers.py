"""What the layers of all results take in the blob store, each counted once."""

from shared.model import Digest, Ref


class KeptLayers:
    """`bytes` is told as results come, change and go. Layers that lie elsewhere (a registry, a client's folder) do not count."""

    def __init__(self) -> None:
        self.bytes = 0
        self._kept: dict[Digest, tuple[int, int]] = {}  # uses, bytes as first told

    def exchanged(self, old: Ref | None, new: Ref | None) -> None:
        """A result is `new` now, and was `old`; None = none."""
        for digest, size in _stored(new).items():
            uses, known = self._kept.get(digest, (0, size))
            self._kept[digest] = (uses + 1, known)
            self.bytes += 0 if uses else known
        for digest in _stored(old):
            uses, known = self._kept.pop(digest)
            if uses > 1:
                self._kept[digest] = (uses - 1, known)
            else:
                self.bytes -= known


def _stored(ref: Ref | None) -> dict[Digest, int]:
    return {} if ref is None else {layer.digest: layer.size for layer in ref.layers if not layer.source}
