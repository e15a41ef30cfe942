"""Which products a lead is eligible for, by hard rules, on bitsets."""
