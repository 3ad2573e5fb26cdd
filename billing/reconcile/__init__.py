"""Agreeing with those who bill us: our ledger against upstream's own account of what it served, and what to do about each difference.

Owns: the format of upstream's usage export (README.md), the exports that were imported, and the comparison. Never: changes an entry,
or decides that upstream is right.
Invariant: what upstream asks for, less what the ledger expects, is the sum of all findings and the residue, to the last digit.
"""
