"""Upstream's usage export at the command line: imported, compared, and told with what to do."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tests.gateway.cli.office import Office
from tests.gateway.office.conftest import Finance

HEAD = "date,upstream_key,model,requests,input_tokens,cached_input_tokens,output_tokens,standard_pages,enhanced_pages,cost_usd"


def imported(office: Office, folder: Path, *rows: str, month: str = "2026-10") -> None:
    path = folder / "usage.csv"
    path.write_text("\n".join([HEAD, *rows, ""]), encoding="utf-8")
    office.json("reconcile", "import", str(path), "--month", month)


def test_what_upstream_bills_and_nobody_called_is_told_with_what_to_do(finance: Finance, tmp_path: Path) -> None:
    office = finance.office
    before = office.json("reconcile", "show", "2026-07")
    assert (before["import"], before["findings"]) == (None, [])
    assert "reconcile import" in before["what_to_do"][0]
    row = "2026-07-03,key-x,solar-pro4,2,1000,0,100,0,0,0.00042"
    imported(office, tmp_path, row, row, month="2026-07")
    report = office.json("reconcile", "show", "2026-07")
    assert {name: report[name] for name in ("difference", "residue", "agrees")} == {
        "difference": "0.00084",
        "residue": "0.00",
        "agrees": False,
    }
    assert report["named"] == {"doubled": "0.00042", "unknown": "0.00042"}
    told = office.does("reconcile", "show", "2026-07")
    assert "line 3 of the export repeats line 2" in told
    assert "ask for a credit" in told


def test_calls_without_a_buy_price_are_told(finance: Finance, tmp_path: Path) -> None:
    # October's calls were booked by the fixture, from cards that know no buy price.
    imported(finance.office, tmp_path, "2026-10-15,,solar-pro4,2,11001000,500000,4000200,0,0,8.13024")
    report = finance.office.json("reconcile", "show", "2026-10")
    evidence = {each["model"]: each["evidence"] for each in report["findings"]}
    assert evidence["solar-pro4"] == "no rate card says what upstream takes for it"
    assert report["upstream"] == {"calls": 2, "cost": "8.13024"}


def test_what_the_simulator_itself_says_it_served_agrees_with_the_ledger_to_the_call(
    finance: Finance, tmp_path: Path
) -> None:
    office, secret = finance.office, finance.gateway.key(finance.partner)

    def found() -> list[str]:
        """What is told of the one model that only this test calls."""
        findings = office.json("reconcile", "show", "2026-11")["findings"]
        return [each["name"] for each in findings if each["model"].startswith("solar-pro2")]

    before = max((row["seq"] for row in finance.gateway.truth()), default=0)
    with finance.gateway.caller(secret) as caller:
        for number in range(4):
            body = {"model": "solar-pro2", "max_tokens": 9 + number, "messages": [{"role": "user", "content": "안녕?"}]}
            assert caller.post("/chat/completions", json=body).is_success
    served = finance.gateway.truth(before)
    cached, output = (sum(row[name] for row in served) for name in ("cached_tokens", "completion_tokens"))
    fresh = sum(row["prompt_tokens"] for row in served) - cached
    usd = (Decimal("0.15") * fresh + Decimal("0.015") * cached + Decimal("0.60") * output) / 1_000_000
    cells = f"{{}},solar-pro2-251215,{len(served)},{fresh},{cached},{output},0,0,{usd:f}"
    imported(office, tmp_path, cells.format("2026-11-02,"), month="2026-11")
    assert found() == []
    assert office.json("reconcile", "show", "2026-11")["upstream"] == {"calls": 4, "cost": f"{usd.normalize():f}"}
    imported(
        office,
        tmp_path,
        f"2026-11-02,,solar-pro2-251215,5,{fresh + 100},{cached},{output},0,0,{usd:f}",
        month="2026-11",
    )
    assert set(found()) == {"unknown", "price"}


def test_a_wrong_file_is_refused_with_its_line_and_nothing_is_kept(finance: Finance, tmp_path: Path) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(f"{HEAD}\n2026-08-01,k,solar-pro4,-2,1,1,1,0,0,1\n", encoding="utf-8")
    code, line = finance.office.refused("reconcile", "import", str(path), "--month", "2026-08")
    assert (code, "line 2" in line) == (1, True)
    assert finance.office.refused("reconcile", "import", str(tmp_path / "none"), "--month", "2026-08")[0] == 2
    assert finance.office.json("reconcile", "show", "2026-08")["import"] is None
