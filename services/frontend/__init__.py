"""SOURCE → LLB: the service that reads a Dockerfile and answers with a definition.

Rooms: `core/` reads and converts (pure generators that yield what they need), `ports.py` says what a
frontend may ask of a build, `adapters/` ask it over the build's bridge, `service.py` answers RunFrontend.
Answers on `call.frontend`: RunFrontend. Public to Python: `service.run(config, mesh)`.
It never solves, never touches a snapshot, and keeps nothing between two calls.
"""

__all__: list[str] = []
