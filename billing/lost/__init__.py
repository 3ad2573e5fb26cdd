"""Attempts at upstream that brought no answer, and may be billed to us all the same.

Owns: one row for each such attempt, with what it may cost us: likely, and at most. Never: a charge; a call's entry (billing/ledger).
Invariant: rows are only added; the identity of one is its call and the number of the attempt, so that what is told twice is there once.
"""
