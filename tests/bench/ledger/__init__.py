"""What the ledger does with millions of entries: see `__main__`."""
