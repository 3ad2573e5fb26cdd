"""`solar-gateway demo` tells the whole story: exit 0, an invoice and a share in files, and numbers that agree with one another."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from decimal import Decimal
from pathlib import Path

from tests.running import command

_TIMEOUT_S = 120


def run_demo(directory: Path, *arguments: str) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "SOLAR_"))}
    done = subprocess.run(
        [*command(), "demo", *arguments],
        cwd=directory,
        env={**environment, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_ends_with_an_invoice_a_share_and_numbers_that_agree(tmp_path: Path) -> None:
    told = run_demo(tmp_path)
    invoices = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("solar-demo/*/invoice-*.json"))]
    shares = [json.loads(path.read_text()) for path in tmp_path.glob("solar-demo/*/share-*.json")]
    assert [invoice["number"][4:] for invoice in invoices] == ["-000001", "-000002"]
    for invoice in invoices:
        assert Decimal(invoice["subtotal"]) == sum(Decimal(line["amount"]) for line in invoice["lines"])
        assert Decimal(invoice["total"]) == Decimal(invoice["subtotal"]) + Decimal(invoice["tax"])
        assert f"Invoice {invoice['number']}" in told
        assert f" {invoice['total']} " in told
    partner, developer = invoices
    assert partner["grants_used"] == 30_000
    assert {line["discount"] for line in partner["lines"] if not line["granted"]} == {"0.10"}
    assert {line["discount"] for line in developer["lines"]} == {"0.00"}
    assert Decimal(partner["total"]) < Decimal(developer["total"])
    net = sum(Decimal(line["exact_usd"]) for line in developer["lines"])
    assert Decimal(shares[0]["amount"]) == (net * Decimal("0.20")).quantize(Decimal("0.01"), rounding="ROUND_FLOOR")
    assert shares[0]["account_id"] == partner["account_id"]
    rows = list(csv.DictReader(io.StringIO(next(tmp_path.glob("solar-demo/*/*-000002.csv")).read_text())))
    assert [row["amount"] for row in rows if row["row"] == "total"] == [developer["total"]]
    assert "sk-solar-" not in told
