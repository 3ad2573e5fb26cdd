"""The console script against the real running gateway."""
