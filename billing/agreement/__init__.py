"""Do Stripe and we agree on a month? Invoices, lines, totals, credit notes, states, metered usage, payouts, per customer.

Owns: the comparison, and the names of what differs (`bills.py`, pure; `months.py` reads both sides). Never: a change, on either side.
Invariant: a month is compared whole or not at all; no finding is the proof that both say the same.
"""
