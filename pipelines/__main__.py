"""The command line: `python -m pipelines STEP --key value`. Every step is a command."""

import sys

from pipelines.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
