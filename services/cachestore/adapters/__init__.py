"""How the cachestore touches the world: key stores (sqlite, NATS KV, memory), the executors over the bus, and its own calls."""

__all__: list[str] = []
