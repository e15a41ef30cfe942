"""From leads and products to scored pairs: hard rules, probabilities, expected value."""
