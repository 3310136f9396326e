"""The command line: ``python -m lambda_adapter``, and the console script ``lambda-adapter``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
