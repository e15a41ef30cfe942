"""What becomes of a lead in the simulated world: ground truth, events, a baseline allocation."""
