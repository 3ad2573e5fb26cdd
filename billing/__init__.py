"""Money, from fact to paper.

Owns: accounts, prices, the ledger, invoices, revenue shares.
Never: speaks HTTP, touches Redis, or imports the gateway. Money is Decimal or whole numbers from end to end.
"""
