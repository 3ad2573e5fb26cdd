"""Contributions corrected and withdrawn over HTTP: tier, grants, and the very next call."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.office.conftest import Finance
from tests.running import Gateway

GIVEN = {"dataset": "books", "words": 120_000_000, "tokens": 150_000_000}
ASK = {"model": "solar-pro4", "max_tokens": 20, "messages": [{"role": "user", "content": "안녕?"}]}


def say(gateway: Gateway, secret: str) -> str:
    """A call's cost."""
    with gateway.caller(secret) as caller:
        answer = caller.post("/chat/completions", json=ASK)
    assert answer.is_success, answer.text
    return str(answer.headers["x-solar-cost"])


def tier(gateway: Gateway, secret: str) -> tuple[str, int]:
    with gateway.caller(secret) as caller:
        told = caller.get("/account").json()
    return told["tier"], told["grant_tokens_left"]


def grants(gateway: Gateway, account: str) -> list[dict[str, Any]]:
    told = gateway.operator.get(f"/accounts/{account}/grants").json()
    assert told["complete"]
    for grant in told["data"]:
        assert grant["granted"] == sum(grant[part] for part in ("used", "expired", "ended", "left"))
    return list(told["data"])


def test_a_withdrawal_ends_the_grant_and_the_tier_from_the_next_call_on(gateway: Gateway) -> None:
    account = gateway.account(kind="club")["id"]
    secret = gateway.key(account)
    path = f"/accounts/{account}/contributions"
    given = gateway.post(path, GIVEN)
    assert say(gateway, secret) == "0.00"
    assert tier(gateway, secret)[0] == "100M"
    withdrawn = gateway.post(path, {"withdraws": given["id"], "note": "rights unclear"})
    assert (withdrawn["withdraws"], withdrawn["tokens"], withdrawn["dataset"]) == (given["id"], 0, "books")
    assert say(gateway, secret) != "0.00"
    assert tier(gateway, secret) == ("none", 0)
    (ended,) = grants(gateway, account)
    assert 0 < ended["used"] < 200
    assert (ended["left"], ended["ended"]) == (0, 150_000_000 - ended["used"])
    assert [row["id"] for row in gateway.operator.get(path).json()["data"]] == [given["id"], withdrawn["id"]]


def test_a_correction_grants_the_corrected_tokens_less_those_spent(gateway: Gateway) -> None:
    account = gateway.account(kind="club")["id"]
    secret = gateway.key(account)
    path = f"/accounts/{account}/contributions"
    given = gateway.post(path, GIVEN)
    say(gateway, secret)
    used = grants(gateway, account)[0]["used"]
    corrected = gateway.post(path, {"corrects": given["id"], "tokens": 90_000_000})
    assert (corrected["corrects"], corrected["words"], corrected["tokens"]) == (given["id"], 120_000_000, 90_000_000)
    assert corrected["grant"]["tokens"] == 90_000_000 - used
    assert say(gateway, secret) == "0.00"
    assert tier(gateway, secret)[0] == "none"
    old, new = grants(gateway, account)
    assert (old["used"], old["left"], new["granted"]) == (used, 0, 90_000_000 - used)
    assert 0 < new["used"] < 200


def test_a_call_knows_its_tier_the_tokens_behind_it_and_what_brought_it_about(gateway: Gateway) -> None:
    account = gateway.account(kind="club")["id"]
    secret = gateway.key(account)
    given = gateway.post(f"/accounts/{account}/contributions", GIVEN)
    reason = f"100M: 150000000 accepted tokens, by {given['id']}"
    with gateway.caller(secret) as caller:
        assert caller.get("/account").json()["discount_reason"] == reason


def test_a_table_of_tiers_is_stated_for_an_instant_to_come_and_listed(finance: Finance) -> None:
    office, far = finance.office, "2098-01-01T00:00:00Z"
    posted = office.json("club", "set-tiers", far, "A=1000:0.05", "B=5000:0.5")
    assert posted["tiers"][1] == {"name": "B", "tokens_min": 5000, "discount": "0.5"}
    tables = office.json("club", "tiers")["data"]
    assert (tables[0]["id"], tables[0]["effective_at"], tables[-1]) == ("default", None, posted)
    assert [office.refused("club", "set-tiers", at, "A=1:0.1")[0] for at in (far, "2020-01-01T00:00:00Z")] == [1, 1]
    assert office.refused("club", "set-tiers", "2099-01-01T00:00:00Z", "A=x")[0] == 2


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({**GIVEN, "tokens": -1}, 400, "invalid_request_body"),
        ({"words": 1, "tokens": 1}, 400, "invalid_request_body"),
        ({"withdraws": "con_none"}, 404, "not_found"),
        ({"withdraws": "THIS", "tokens": 5}, 400, "invalid_request_body"),
        ({"withdraws": "THIS", "corrects": "THIS"}, 400, "invalid_request_body"),
        ({"corrects": "THIS", "accepted_at": "2001-01-01T00:00:00Z"}, 400, "invalid_request_body"),
        ({"corrects": "UNDONE"}, 409, "contribution_superseded"),
    ],
)
def test_an_entry_that_cannot_be_is_refused(gateway: Gateway, body: dict[str, Any], status: int, code: str) -> None:
    account = gateway.account(kind="club")["id"]
    path = f"/accounts/{account}/contributions"
    undone, this = (gateway.post(path, GIVEN)["id"] for _ in range(2))
    gateway.post(path, {"withdraws": undone})
    names = {"THIS": this, "UNDONE": undone}
    answer = gateway.operator.post(
        path, json={k: names.get(v, v) if isinstance(v, str) else v for k, v in body.items()}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert len(gateway.operator.get(path).json()["data"]) == 3


def test_the_command_line_corrects_withdraws_and_shows_grants(finance: Finance) -> None:
    office, partner = finance.office, finance.partner
    given = office.json("club", "contribute", partner, "--dataset", "news", "--words", "5", "--tokens", "1000")
    corrected = office.json("club", "correct", partner, given["id"], "--tokens", "800")
    withdrawn = office.json("club", "withdraw", partner, corrected["id"], "--note", "asked to")
    assert (corrected["corrects"], withdrawn["withdraws"]) == (given["id"], corrected["id"])
    rows = office.json("club", "grants", partner)["data"]
    assert [(row["granted"], row["ended"], row["left"]) for row in rows] == [(1000, 1000, 0), (800, 800, 0)]
    assert office.refused("club", "withdraw", partner, corrected["id"])[0] == 1
