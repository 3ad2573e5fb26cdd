"""What finance mistypes is refused with the field's name, before it costs money: each of these was once taken in silence."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import Gateway

PAYEE = {
    "kind": "business",
    "country": "KR",
    "legal_name": "한빛미디어",
    "currency": "KRW",
    "registration_number": "220-81-62517",
    "destination": {"kind": "bank", "account": "110-000"},
}
GIFT = {"dataset": "books", "words": 1, "tokens": 1}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("accounts", {"name": "x", "tax": {"country": "Korea"}}, "tax.country"),
        ("accounts", {"name": "x", "tax": {"country": "ZZ"}}, "tax.country"),
        ("accounts", {"name": "x", "tax": {"registration_number": "220-81-62517"}}, "tax.country"),
        ("accounts", {"name": " "}, "name"),
        ("accounts", {"name": "x", "prepaid_balance": "-5"}, "prepaid_balance"),
        ("accounts/ACCOUNT/contributions", {**GIFT, "quality": "1e9"}, "quality"),
        ("accounts/ACCOUNT/contributions", {**GIFT, "dataset": " "}, "dataset"),
        ("accounts/ACCOUNT/payee", {**PAYEE, "legal_name": " "}, "legal_name"),
        ("accounts/ACCOUNT/payee", {**PAYEE, "destination": {"kind": "stripe"}}, "destination"),
        (
            "rate-cards",
            {"effective_at": "2030-01-01T00:00:00Z", "models": {"solar-pro4": {"input": "0.30"}}},
            "models",
        ),
    ],
)
def test_a_slip_is_refused_and_named(gateway: Gateway, path: str, body: dict[str, Any], param: str) -> None:
    account = gateway.account(kind="club")["id"]
    answer = gateway.operator.post(f"/{path}".replace("ACCOUNT", account), json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_request_body", param)
    assert error["message"].startswith(f"{param}")
    assert "Infinity" not in error["message"]


def test_a_country_is_kept_as_its_two_letters_and_a_change_is_checked_as_well(gateway: Gateway) -> None:
    account = gateway.account(tax={"country": "kr"})
    assert account["tax"]["country"] == "KR"
    answer = gateway.operator.patch(f"/accounts/{account['id']}", json={"tax": {"country": "Südkorea"}})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tax.country")


def test_two_cards_at_one_instant_are_told_with_that_instant(gateway: Gateway) -> None:
    card = {
        "effective_at": "2031-01-01T00:00:00+09:00",
        "models": {"solar-pro4": {"input": "0.30", "cached_input": "0.06", "output": "1.20"}},
    }
    gateway.post("/rate-cards", card)
    answer = gateway.operator.post("/rate-cards", json=card)
    assert answer.json()["error"]["code"] == "rate_card_overlaps"
    assert "from 2030-12-31T15:00:00Z on" in answer.json()["error"]["message"]


def test_a_gift_that_was_dated_too_late_by_a_slip_is_withdrawn_without_knowing_its_instant(gateway: Gateway) -> None:
    path = f"/accounts/{gateway.account(kind='club')['id']}/contributions"
    given = gateway.post(path, {**GIFT, "accepted_at": "2062-10-01T00:00:00Z", "quality": "1.50"})
    assert given["quality"] == "1.50"
    withdrawn = gateway.post(path, {"withdraws": given["id"]})
    assert withdrawn["accepted_at"] == "2062-10-01T00:00:00Z"


def test_a_file_says_its_letters_once(gateway: Gateway) -> None:
    answer = gateway.operator.get("/payouts", headers={"accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
