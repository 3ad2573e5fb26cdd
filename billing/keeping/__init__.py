"""What becomes of the ledger when it is old, and whether it still is what was written.

Owns: taking a month's entries out of the ledger and putting them back (`retention.py`); working the proofs out again (`verify.py`).
Never: deletes or changes an entry. Moving a detached table to other storage, and dropping it, is the operator's (deploy/runbook.md).
Invariants: a month is detached only when every bill that rests on it is issued; what comes for it later is kept and shown, never lost.
"""
