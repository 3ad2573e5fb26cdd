"""`solar-gateway ledger`: its months in and out, what came too late, its rollups and proofs.

Owns: these commands. Never: reads or changes the ledger itself; it asks the operator API, as all of the command line does.
"""

from gateway.cli.ledger.commands import app

__all__ = ["app"]
