"""What the executor decides without touching the world: specs, mount plans, file actions, sources, leases, capacity."""

__all__: list[str] = []
