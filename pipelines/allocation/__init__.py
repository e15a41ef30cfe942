"""The matching solver: linear assignment with quotas, budgets and side constraints. It knows arrays, not leads."""
