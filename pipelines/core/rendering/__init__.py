"""What a page is made of: the base template with its environment, and the SVG elements."""
