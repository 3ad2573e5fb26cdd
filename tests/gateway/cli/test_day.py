"""An operator's day and finance's, from the first account to the invoice in a file: over a month's end, at the command line alone.

The sandbox is started twice with the same data: in the middle of October, and three hours into November.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from solar_sdk import receipts
from tests.gateway.cli.office import QUESTION, Office
from tests.running import Gateway

MID_OCTOBER, NOVEMBER = "2026-10-15T03:00:00Z", "2026-10-31T18:00:00Z"
CARD = {"effective_at": "2026-10-01T00:00:00Z", "models": {"solar-pro4": {"input": "3000", "output": "12000"}}}
WORDS, TOKENS = 120_000_000, 150_000_000


class October(NamedTuple):
    """What the operator did in October, as the gateway answered it."""

    partner: str
    developer: str
    secret: str
    draft: dict[str, Any]
    usage: dict[str, Any]


def _october(office: Office, card_path: Path) -> October:
    """Accounts, prices, text, a plan, a key; the developer calls."""
    partner = office.json("accounts", "create", "Hanbit Books", "--kind", "club")["id"]
    developer = office.json("accounts", "create", "Cafe Dev", "--monthly-cap", "5000.00", "--tax-country", "KR")["id"]
    card_path.write_text(json.dumps(CARD), encoding="utf-8")
    office.does("prices", "add", str(card_path))
    gift = ("--dataset", "books-2024", "--words", str(WORDS), "--tokens", str(TOKENS))
    assert "150,000,000" in office.does("club", "contribute", partner, *gift)
    office.does("club", "manifest", "solar-pro4-260806", "books-2024")
    office.does("shares", "plan-add", "2026-10", "--pool-rate", "0.20")
    secret = office.json("keys", "create", developer, "kiosk")["secret"]
    _call(office, secret)
    usage = office.json("usage", "--by", "model", "--account", developer)
    return October(partner, developer, secret, office.json("month", "close", "2026-10", "--draft"), usage)


def _call(office: Office, secret: str) -> None:
    with office.gateway.caller(secret) as caller:
        answer = caller.post("/chat/completions", json=QUESTION)
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Office, October]]:
    """The office in November, and what happened in October."""
    folder = tmp_path_factory.mktemp("months")
    with Gateway.started(folder, environment={"GATEWAY_SANDBOX_CLOCK": MID_OCTOBER}, covered=True) as running:
        october = _october(Office(running), folder / "card.json")
    with Gateway.started(folder, environment={"GATEWAY_SANDBOX_CLOCK": NOVEMBER}, covered=True) as running:
        yield Office(running), october


def test_a_month_is_lived_through_closed_and_exported_at_the_command_line(
    months: tuple[Office, October], tmp_path: Path
) -> None:
    office, october = months
    assert [(group["group"], group["calls"]) for group in october.usage["data"]] == [("solar-pro4", 1)]

    closed = office.json("month", "close", "2026-10")
    [named] = closed["invoices"]
    [drafted] = october.draft["invoices"]
    assert (named["account_id"], named["total"]) == (october.developer, drafted["total"])
    assert office.json("month", "close", "2026-10") == closed
    assert named["number"] in office.does("month", "close", "2026-10")

    [invoice] = office.json("invoices", "list", "--month", "2026-10")["data"]
    shown = office.does("invoices", "show", named["id"])
    assert re.search(rf"^total +{re.escape(invoice['total'])} *$", shown, re.MULTILINE)
    assert all(line["description"] in shown and line["amount"] in shown for line in invoice["lines"])

    path = tmp_path / "invoice.csv"
    office.does("invoices", "export", named["id"], "--format", "csv", "--output", str(path))
    rows = list(csv.DictReader(path.open(encoding="utf-8", newline="")))
    assert rows[-1]["amount"] == invoice["total"]
    assert json.loads(office.does("invoices", "export", named["id"])) == invoice

    [share] = office.json("shares", "list", "--month", "2026-10")["data"]
    assert share["account_id"] == october.partner
    assert share["amount"] in office.does("shares", "list")


def test_a_stranger_verifies_the_bill_from_two_files_alone(months: tuple[Office, October], tmp_path: Path) -> None:
    office, october = months
    [named] = office.json("month", "close", "2026-10")["invoices"]
    invoice, calls = tmp_path / "invoice.json", tmp_path / "calls.ndjson"
    office.does("invoices", "export", named["id"], "--output", str(invoice))
    office.does("calls", "2026-10", "--account", october.developer, "--output", str(calls))
    with calls.open(encoding="utf-8") as lines:
        receipt = receipts.verify(json.loads(invoice.read_text(encoding="utf-8")), map(json.loads, lines))
    assert (receipt.calls, receipt.entries) == (1, 1)
    table = list(csv.DictReader(io.StringIO(office.does("calls", "2026-10", "--format", "csv"))))
    assert [(row["account_id"], row["place"], row["streamed"]) for row in table] == [(october.developer, "1", "false")]


def test_a_draft_shows_the_bill_to_come_and_issues_nothing(months: tuple[Office, October]) -> None:
    office, october = months
    _call(office, october.secret)
    text = office.does("month", "close", "2026-11", "--draft")
    assert re.search(rf"{october.developer} +draft ", text)
    assert office.json("invoices", "list", "--month", "2026-11") == {"data": [], "next": None}


def test_a_month_that_is_not_over_is_refused_in_the_gateways_words(months: tuple[Office, October]) -> None:
    code, line = months[0].refused("month", "close", "2026-11")
    assert code == 1
    assert line.startswith("month_not_over: ")


def test_a_format_that_there_is_not_is_refused_and_writes_no_file(
    months: tuple[Office, October], tmp_path: Path
) -> None:
    office, _ = months
    [invoice] = office.json("month", "close", "2026-10")["invoices"]
    path = tmp_path / "invoice.docx"
    said = office.run("invoices", "export", invoice["id"], "--format", "docx", "--output", str(path))
    assert said.code == 2
    assert "docx" in said.stderr
    assert not path.exists()
