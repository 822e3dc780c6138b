"""How much one build may make its solver keep for it. Clients and frontends ask as often as they like; what is kept for ever is counted."""

from dataclasses import dataclass

from shared.errors import Exhausted


@dataclass(slots=True, kw_only=True)
class Bound:
    """So many of `what`, of so many bytes together; `count` and `size` are what there is."""

    what: str
    most: int
    most_bytes: int
    count: int = 0
    size: int = 0

    def take(self, count: int = 1, size: int = 0) -> None:
        """Counts more. Raises Exhausted, and counts nothing, when that is too much."""
        if self.count + count > self.most or self.size + size > self.most_bytes:
            raise Exhausted(f"one build can have {self.most} {self.what}, of {self.most_bytes} bytes together")
        self.count += count
        self.size += size
