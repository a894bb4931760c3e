"""`python -m replicax`: the command line."""

import sys

from replicax.top.cli import main

if __name__ == "__main__":
    sys.exit(main())
