"""From scored pairs to the matches of a day: the best plan, its proof, and every reason."""
