"""The benchmark of deliveries: a large matched day, and the steps that deliver and send it."""
