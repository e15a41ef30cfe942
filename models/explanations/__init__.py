"""Why a model gives the score it gives: reasons, the reference profile they compare with, and their fidelity."""
