"""What must outlive this process while Redis is away: an append-only journal on the local disk.

Owns the files under `GATEWAY_DATA_DIR/spool`: one writer a file, locked for as long as its process lives. Knows bytes, and nothing of
calls or money: what a record means is the business of `gateway.admission.standby`. Never answers before the disk has what it was given.
"""
