"""Studies: analyses whose conclusions are decision pages."""
