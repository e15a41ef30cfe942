"""What Banyan is promised and what it promises: contracts, mappings and policies, as data."""
