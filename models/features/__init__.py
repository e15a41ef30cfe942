"""Features: the encoder of the feature matrix, lender effects, and the meaning of each feature."""
