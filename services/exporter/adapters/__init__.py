"""What touches the world: executors over the bus, the client's session, registries."""

__all__: list[str] = []
