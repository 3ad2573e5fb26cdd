"""A month leaves the ledger and comes back, over HTTP and at the command line; what rests on its entries says so meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.billing.months import call
from tests.gateway.cli.office import Office
from tests.gateway.office.conftest import SELLER, TAX, use
from tests.running import Gateway

MUCH_LATER = "2027-03-01T00:00:00Z"


def test_a_month_goes_out_and_comes_back_with_what_came_late_for_it(tmp_path: Path) -> None:
    environment = {
        "GATEWAY_SANDBOX_CLOCK": MUCH_LATER,
        "GATEWAY_MONTH_GRACE_S": "0",
        "GATEWAY_LEDGER_KEEP_MONTHS": "2",
        **SELLER,
    }
    with Gateway.started(tmp_path, environment=environment) as gateway:
        office, desk = Office(gateway), gateway.operator
        payer = gateway.account(name="한빛미디어", tax=TAX)["id"]
        _book(gateway, *(call(payer, (1_000_000, 0, at, 0, 0)) for at in range(1, 4)))
        gateway.post("/months/2026-10/close", {})
        (invoice,) = desk.get("/invoices", params={"account": payer}).json()["data"]
        listed = desk.get(f"/invoices/{invoice['id']}/calls")
        assert (listed.status_code, listed.text.count("\n")) == (200, 1 + 2 * 3)

        # Out: at the command line, after the last check of its rollups and proofs.
        out = office.json("ledger", "detach", "2026-10")
        assert (out["month"], out["state"], out["entries"], out["booked"]) == ("2026-10", "detached", 3, {"2026-10": 3})
        again = desk.post("/ledger/months/2026-10/detach")
        assert (again.status_code, again.json()["error"]["code"]) == (409, "month_not_attached")
        for path, params in (
            (f"/invoices/{invoice['id']}/calls", {}),
            ("/usage/calls", {"month": "2026-10", "account": payer}),
        ):
            refused = desk.get(path, params=params)
            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "month_detached"), path
        assert desk.get(f"/invoices/{invoice['id']}").json()["proof_root"] == invoice["proof_root"]

        # A call that comes now is kept and shown, in no bill.
        _book(gateway, call(payer, (7, 0, 7, 0, 0)))
        (late,) = office.json("ledger", "late")["data"]
        assert (late["account_id"], late["month"], late["code"]) == (payer, "2026-10", "detached_month")
        assert {each["month"]: each["late"] for each in office.json("ledger", "months")["data"]} == {"2026-10": 1}

        # And back: over HTTP.
        back = desk.post("/ledger/months/2026-10/attach")
        assert (back.status_code, back.json()["state"], back.json()["appended"]) == (200, "attached", 1)
        assert desk.get(f"/invoices/{invoice['id']}/calls").text == listed.text
        assert office.json("ledger", "late")["data"] == []
        assert office.json("ledger", "check", "2026-10")["agree"]
        said = office.run("ledger", "attach", "2026-10")
        assert (said.code, "not detached" in said.stderr) == (1, True)
        kept = [(row["action"], row["subject"]) for row in desk.get("/audit", params={"limit": 50}).json()["data"]]
        assert {("ledger.detach", "2026-10"), ("ledger.attach", "2026-10")} <= set(kept)


def _book(gateway: Gateway, *calls: Any) -> None:
    asyncio.run(use(gateway.addresses["database_url"], *calls))
