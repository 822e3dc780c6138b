"""LLBBridge as a server: what whoever drives a build may call, in gRPC's words (`service`), in ours (`codec`), and which of it
works (`caps`). The gateway serves it to clients, an executor to the frontends that it runs as containers.
"""

__all__: list[str] = []
