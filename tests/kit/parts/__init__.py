"""Real servers on loopback, one file each: nats-server, MinIO, docker-registry, Jaeger, buildkitd, dockerd.

Each is a context manager that starts the server on free ports with its state in a given folder, waits until it answers, and ends
that very process afterwards. `NotHere` says which command installs what is missing.
"""

from tests.kit.parts.process import NotHere, Part, free_port, program

__all__ = ["NotHere", "Part", "free_port", "program"]
