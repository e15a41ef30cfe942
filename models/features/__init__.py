"""Feature lists, the encoder that makes matrices of them, and lender effects."""
