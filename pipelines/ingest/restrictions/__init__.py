"""What restricts and cannot be read: which products, institutions, persons and deliveries close."""
