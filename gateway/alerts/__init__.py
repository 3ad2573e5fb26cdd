"""Budgets that run out, told to those who pay: at 50, 80 and 100 % of a cap or a prepaid balance.

Owns: the alerts (each stored once), the secrets that sign them, their delivery. Never: a decision about a call; it only reads the ledger.
Invariants: an alert exists once for each account, scope, period and threshold; it is delivered at least once, under one id, or given up
after a stated number of attempts; nothing is sent to an address inside our own network unless a setting allows it.
"""
