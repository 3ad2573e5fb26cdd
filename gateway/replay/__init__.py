"""Calls that carry an `Idempotency-Key`: who has claimed a key, and for a short while the answer that it got.

Owns: the claims and the kept answers in Redis, and how they are sealed. Never: a price, a limit, HTTP, the ledger.
Invariants: what lies in Redis can be read only with the caller's own secret, which we do not hold; nothing there can be guessed back
into a prompt; answers are bounded one by one and together; a claim outlives its worker by a lease at most.
"""
