"""Champion-challenger evaluation, and the registry of which model set is active when."""
