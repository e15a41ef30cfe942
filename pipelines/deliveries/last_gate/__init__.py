"""Last gate: check the bytes of a lead file from the sources, right before they leave."""
