"""Small true servers that stand in for the world, for tests alone."""
