"""The ledger: the database of deliveries, jobs and attempts; the one truth."""
