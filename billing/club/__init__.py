"""The 1T Club: what partners gave, and what they get for it.

Owns: contributions, tiers, token grants, training manifests. Never: the spending of a grant (that is decided once, at
settlement, and stands on the ledger entry).
Invariant: a contribution is never changed; it is corrected or withdrawn by a new, linked entry.
"""
