"""Model cards: one page for each model that was trained."""
