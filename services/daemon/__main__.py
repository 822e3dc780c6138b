"""`python -m services.daemon`."""

import sys

from services.daemon.start import main

if __name__ == "__main__":
    sys.exit(main())
