"""Prices at the command line: a card goes from the file to the gateway as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.gateway.cli.office import Office


def _card(account: str) -> str:
    models = {"solar-pro4": {"input": "0.250", "output": "1.00"}, "document-parse": {"page": {"standard": "0.008"}}}
    return json.dumps({"effective_at": "2099-01-01T00:00:00Z", "account_id": account, "models": models})


def test_a_card_from_a_file_stands_in_the_list_with_its_prices_as_they_were_written(
    office: Office, tmp_path: Path
) -> None:
    account = office.json("accounts", "create", "Negotiated")["id"]
    path = tmp_path / "card.json"
    path.write_text(_card(account), encoding="utf-8")
    assert "0.250" in office.does("prices", "add", str(path))
    rows = [line for line in office.does("prices", "list").splitlines() if account in line]
    assert [("0.250" in row, "0.008" in row) for row in rows] == [(True, False), (False, True)]


def test_a_card_can_come_from_stdin(office: Office) -> None:
    account = office.json("accounts", "create", "Piped")["id"]
    assert office.json("prices", "add", "-", given=_card(account))["account_id"] == account


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"effective_at": ', "no JSON, line 1 column"),
        ("[]", "a rate card is a JSON object"),
        ("\udcff", "no JSON"),
        ("[" * 100_000, "no JSON"),
        (" " * (1024 * 1024 + 1), "larger than 1 MiB"),
        (None, "No such file"),
    ],
)
def test_a_file_that_holds_no_card_is_a_wrong_argument(
    office: Office, tmp_path: Path, content: str | None, says: str
) -> None:
    path = tmp_path / "card.json"
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    code, line = office.refused("prices", "add", str(path))
    assert code == 2
    assert line.startswith(f"{path}: {says}")


def test_a_card_that_the_gateway_cannot_take_is_refused_in_its_words(office: Office, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text('{"effective_at": "2099-01-01T00:00:00Z", "models": {"m": {"input": 0.25}}}', encoding="utf-8")
    code, line = office.refused("prices", "add", str(path))
    assert (code, line.partition(": ")[0]) == (1, "invalid_request_body")
    assert "input" in line
    path.write_text('{"effective_at": "2099-01-01T00:00:00Z", "models": {"m": {"input": "-1"}}}', encoding="utf-8")
    assert "models.m.input" in office.refused("prices", "add", str(path))[1]


def test_a_rate_is_stated_once_and_another_for_the_same_day_is_refused(office: Office) -> None:
    office.does("prices", "fx-add", "2031-05-31", "1386.50")
    assert {"date": "2031-05-31", "pair": "USD/KRW", "rate": "1386.50"} in office.json("prices", "fx-list")["data"]
    code, line = office.refused("prices", "fx-add", "2031-05-31", "1400")
    assert (code, line.partition(": ")[0]) == (1, "fx_rate_exists")
