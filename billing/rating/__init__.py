"""Rating: from what the ledger has booked for an account to the exact lines of its bill.

Owns: how entries are grouped into lines, and what each line comes to in exact USD. Never: rounds, converts, taxes, or decides
a price or a grant again (both stand on the entries).
Invariant: the exact lines of a month sum to the cost of its entries, to the last digit.
"""
