"""``python -m pipelines VERB``."""

import sys

from pipelines.cli import main

sys.exit(main())
