"""`python -m services.certs`."""

import sys

from services.certs.command import main

if __name__ == "__main__":
    sys.exit(main())
