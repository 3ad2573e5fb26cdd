"""One call, left to right: edge → keys → admission → upstream → meter → ledger.

Owns: everything between a client's socket and the usage stream. Never: an invoice, a share, a price list of its own.
`journey.py` is the only place where the order of the rooms and the failure paths are decided; `app.py` is the only file that
names every concrete thing.
"""
