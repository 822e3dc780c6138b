"""`buildmesh store`: the bucket of a MinIO, and a user of its own for each service of the fleet, with the rights that it needs.

Public to Python: `main(argv)`.
"""

from services.store.command import main

__all__ = ["main"]
