"""`python -m tests.helpers.small_portions VERB …`: the command line with portions of a few leads.

So the days of small markets have many portions, as large days have.
"""

import sys

from pipelines.cli.app import main
from pipelines.pairs import scoring
from pipelines.pairs.eligibility import engine

if __name__ == "__main__":
    scoring.PAIRS_PER_BATCH = 60
    scoring.LEADS_PER_BATCH = 40
    engine.LEADS_PER_BATCH = 40
    sys.exit(main())
