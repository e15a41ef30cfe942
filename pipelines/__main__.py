"""`python -m pipelines VERB`: the same as `banyan VERB`."""

import sys

from pipelines.cli.app import main

if __name__ == "__main__":  # a spawned child process imports this file, too
    sys.exit(main())
