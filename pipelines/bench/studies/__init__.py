"""One-off analyses whose conclusion is a decision page."""
