"""`solar-gateway ledger`: its months in and out, what came too late, its rollups and proofs."""

from gateway.cli.ledger.commands import app

__all__ = ["app"]
