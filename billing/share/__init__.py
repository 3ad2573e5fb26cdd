"""The revenue share: a part of what each payer paid, to those whose text made it possible.

Owns: share plans, pools, their split, and what partners are paid or carry over. Never: changes an invoice, or tells a partner
who the payers are.
Invariants: the amounts of a month sum to its pool to the cent, and the pool never exceeds rate × net revenue; no account
takes a share of what its own owner group paid; a month's share is computed once.
"""
