"""The ledger: every call once, for ever.

Owns: entries, their running totals, and the months that are closed. Never: changes or deletes an entry.
Invariants: the identity of an entry is (UTC month of its id, id); a replay of the same record changes nothing; totals are
written in the transaction that writes the entries they count; an entry that comes after its month was closed is booked
into the next open one.
"""
