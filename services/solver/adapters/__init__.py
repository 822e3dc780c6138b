"""How the solver reaches the other services: one module per road, each a thin turn of ports into bus messages."""

__all__: list[str] = []
