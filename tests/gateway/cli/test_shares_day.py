"""The revenue share after a month's end, at the command line and over HTTP: from the statement to the payment that came back.

The sandbox is started twice with the same data: in the middle of October, and three hours into November.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pypdf import PdfReader

from tests.gateway.cli.office import QUESTION, Office
from tests.running import Gateway

MID_OCTOBER, NOVEMBER = "2026-10-15T03:00:00Z", "2026-10-31T18:00:00Z"
CARD = {"effective_at": "2026-10-01T00:00:00Z", "models": {"solar-pro4": {"input": "300000", "output": "900000"}}}
TOKENS = "150000000"


pytestmark = pytest.mark.timeout(600)  # two sandboxes are started one after another, on a machine that may be busy


class Shared(NamedTuple):
    """Two partners with a share of October, the developer that paid, and its and a partner's keys."""

    office: Office
    books: str
    press: str
    developer: str
    books_secret: str


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("shares")
    with Gateway.started(folder, environment={"GATEWAY_SANDBOX_CLOCK": MID_OCTOBER}, covered=True) as running:
        office = Office(running)
        books, press = (office.json("accounts", "create", name, "--kind", "club")["id"] for name in ("Books", "Press"))
        developer = office.json("accounts", "create", "Cafe Dev", "--tax-country", "KR")["id"]
        (folder / "card.json").write_text(json.dumps(CARD), encoding="utf-8")
        office.does("prices", "add", str(folder / "card.json"))
        for partner in (books, press):
            office.does("club", "contribute", partner, "--dataset", "text", "--words", "1", "--tokens", TOKENS)
        office.does("shares", "plan-add", "2026-10", "--pool-rate", "0.20", "--rule", "scaled_user_prop")
        office.does("prices", "fx-add", "2026-10-31", "1400")
        secret = office.json("keys", "create", books, "own")["secret"]
        with running.caller(running.key(developer)) as caller:
            assert caller.post("/chat/completions", json=QUESTION).status_code == 200
    with Gateway.started(folder, environment={"GATEWAY_SANDBOX_CLOCK": NOVEMBER}, covered=True) as running:
        office = Office(running)
        office.does("month", "close", "2026-10")
        yield Shared(office, books, press, developer, secret)


def test_a_statement_leads_finance_to_the_invoice_and_the_partner_to_no_name(shared: Shared, tmp_path: Path) -> None:
    office = shared.office
    [invoice] = office.json("invoices", "list")["data"]
    share = office.json("shares", "show", "2026-10", shared.books)
    assert (share["rule"], share["pool_rate"]) == ("scaled_user_prop", "0.20")
    [step] = share["steps"]
    assert (step["invoice"], step["payer_account_id"]) == (invoice["number"], shared.developer)
    [pool] = office.json("shares", "pools", "2026-10")["data"]
    assert (pool["invoice"], pool["pool"]) == (invoice["number"], step["pool"])
    path = tmp_path / "share.pdf"
    office.does("shares", "show", "2026-10", shared.books, "--format", "pdf", "--output", str(path))
    assert path.read_bytes().startswith(b"%PDF-")
    with office.gateway.caller(shared.books_secret) as partner:
        own = partner.get("/shares").json()["data"]
        one = partner.get("/shares/2026-10").json()
        table = partner.get("/shares/2026-10", headers={"accept": "text/csv"}).text
        paper = partner.get("/shares/2026-10", headers={"accept": "application/pdf"})
        assert partner.get("/shares/2026-09").status_code == 404
    assert own == [one]
    assert one["amount"] == share["amount"]
    assert paper.headers["content-type"] == "application/pdf"
    shown = "".join(page.extract_text() for page in PdfReader(io.BytesIO(paper.content)).pages)
    assert "Books" in shown
    for text in (json.dumps(own), table, shown):
        for hidden in (shared.developer, "Cafe Dev", shared.press, invoice["number"]):
            assert hidden not in text


def test_the_review_shows_who_feeds_whom_and_suggests_owners(shared: Shared) -> None:
    office = shared.office
    bank = ("--destination", "kind=bank", "--destination", "account=110-1")
    for partner in (shared.books, shared.press):
        office.does("shares", "payee-set", partner, "--name", "한빛", "--kind", "individual", *bank)
    found = office.json("shares", "review", "2026-10")
    assert {row["owner_group"] for row in found["data"]} == {shared.books, shared.press}
    assert all(row["concentration"] == "1.00" for row in found["data"])
    assert {tuple(row["accounts"]) for row in found["suggestions"] if row["why"] == "payment_destination"} == {
        tuple(sorted((shared.books, shared.press)))
    }
    assert "payment_destination" in office.does("shares", "review", "2026-10")


def test_a_share_is_held_released_paid_taken_back_and_paid_again(shared: Shared, tmp_path: Path) -> None:
    office = shared.office
    company = ("--kind", "business", "--registration-number", "120-81-47521", "--destination", "kind=bank")
    office.does("shares", "payee-set", shared.books, "--name", "한빛북스", *company)
    assert office.json("shares", "payee", shared.books)["registration_number"] == "120-81-47521"
    person = ("--kind", "individual", "--destination", "kind=stripe", "--destination", "account=acct_1")
    office.does("shares", "payee-set", shared.press, "--name", "홍길동", *person)
    hold = office.json("shares", "hold", shared.press, "--reason", "looked into")
    run = office.json("shares", "pay", "2026-10")
    [paid] = run["data"]
    assert (paid["account_id"], paid["tax_paper"], paid["fx_rate"]) == (shared.books, "tax_invoice", "1400.00")
    assert [(row["account_id"], row["why"]) for row in run["left_out"]] == [(shared.press, "held")]
    office.does("shares", "release", hold["id"], "--reason", "nothing found")
    assert [row["released_at"] is not None for row in office.json("shares", "holds")["data"]] == [True]
    assert "홍길동" in json.dumps(office.json("shares", "pay", "2026-10")["data"], ensure_ascii=False)
    assert office.json("shares", "pay", "2026-10")["data"] == []
    undone = office.json("shares", "reverse", paid["id"], "--reason", "account closed")
    assert (undone["reverses"], undone["payable"]) == (paid["id"], f"-{paid['payable']}")
    code, line = office.refused("shares", "reverse", paid["id"], "--reason", "again")
    assert (code, line.partition(": ")[0]) == (1, "payout_reversed")
    assert [row["account_id"] for row in office.json("shares", "pay", "2026-10")["data"]] == [shared.books]
    path = tmp_path / "payouts.csv"
    office.does("shares", "payouts", "--month", "2026-10", "--format", "csv", "--output", str(path))
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    listed = office.json("shares", "payouts", "--month", "2026-10")["data"]
    assert [row["payout_id"] for row in rows] == [row["id"] for row in listed]
    assert len(rows) == 4


def test_what_cannot_be_is_refused_in_one_line(shared: Shared) -> None:
    office = shared.office
    for words, code in (
        (("shares", "payee-set", shared.books, "--name", "x", "--kind", "robot", "--destination", "kind=bank"), 1),
        (("shares", "payee-set", shared.books, "--name", "x", "--kind", "business", "--destination", "bank"), 2),
        (("shares", "release", "hld_none", "--reason", "x"), 1),
        (("shares", "reverse", "pay_none", "--reason", "x"), 1),
        (("shares", "hold", shared.books, "--reason", " "), 1),
        (("shares", "show", "2026-01", shared.books), 1),
        (("shares", "pools", "2026-01"), 1),
    ):
        assert office.refused(*words)[0] == code
