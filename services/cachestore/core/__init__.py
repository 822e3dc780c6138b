"""Pure: the graph of cache keys (key_graph), what prune takes (gc_policy) and which records a filter means (usage)."""

__all__: list[str] = []
