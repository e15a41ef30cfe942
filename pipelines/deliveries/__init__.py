"""Deliveries: lead files with the columns an institution may receive, audited from their bytes."""
