"""Tidy is a test: sizes, names, doors, links and leftovers. The numbers and lists to adjust are in `rules.py`, nowhere else."""
