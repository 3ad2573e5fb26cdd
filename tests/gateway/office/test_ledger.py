"""The ledger's keeping at the operator's desk: rollups and proofs checked, a month out and in; over HTTP and at the command line."""

from __future__ import annotations

from typing import Any

from tests.gateway.office.conftest import Finance


def test_rollups_and_proofs_of_a_month_are_checked_from_the_command_line(finance: Finance, issued: Any) -> None:
    assert "the rollups are the sums" in finance.office.run("ledger", "check", "2026-10").stderr
    found = finance.office.json("ledger", "check", "2026-10")
    assert (found["agree"], found["days"], found["slots"], found["data"]) == (True, 0, 0, [])
    said = finance.office.run("ledger", "verify", "2026-10")
    assert "2 accounts, 4 entries; every proof holds" in said.stderr
    proofs = {each["account_id"]: each for each in finance.office.json("ledger", "verify", "2026-10")["data"]}
    invoice = finance.gateway.operator.get(f"/invoices/{issued['id']}").json()
    assert proofs[finance.payer]["root_found"] == invoice["proof_root"]


def test_a_month_that_is_too_young_stays_in_the_ledger(finance: Finance, issued: Any) -> None:
    refused = finance.gateway.operator.post("/ledger/months/2026-10/detach")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "month_in_use")
    said = finance.office.run("ledger", "detach", "2026-10")
    assert (said.code, "stay in the ledger" in said.stderr) == (1, True)
    months = {month["month"]: month for month in finance.office.json("ledger", "months")["data"]}
    assert (months["2026-10"]["state"], months["2026-10"]["late"]) == ("attached", 0)
    refused = finance.gateway.operator.post("/ledger/months/2026-10/attach")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "month_not_detached")
    assert finance.office.json("ledger", "late")["data"] == []
