"""`python -m services.store`."""

import sys

from services.store.command import main

if __name__ == "__main__":
    sys.exit(main())
