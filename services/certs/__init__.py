"""`buildmesh certs`: two authorities and all certificates of a fleet, as folders for compose and variables for Nomad.

Public to Python: `main(argv)`.
"""

from services.certs.command import main

__all__ = ["main"]
