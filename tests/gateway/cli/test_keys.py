"""Keys at the command line: their secret is seen once."""

from __future__ import annotations

import re

from tests.gateway.cli.office import QUESTION, Office

_SECRET = re.compile(r"sk-solar-[\w-]{43,}")


def test_a_secret_is_printed_once_with_a_hint_by_create_and_by_rotate_and_nowhere_else(office: Office) -> None:
    account = office.json("accounts", "create", "Secretive")["id"]
    created = office.run("keys", "create", account, "first", "--monthly-cap", "5.00")
    [first] = _SECRET.findall(created.stdout)
    assert f"SOLAR_API_KEY={first}" in created.stdout.splitlines()
    assert "only time" in created.stderr
    [key] = office.json("keys", "list", account)["data"]

    rotated = office.run("keys", "rotate", key["id"])
    [second] = _SECRET.findall(rotated.stdout)
    assert second != first
    [successor] = [row for row in office.json("keys", "list", account)["data"] if row["id"] != key["id"]]
    texts = [
        office.does("keys", "list", account),
        office.does("keys", "revoke", successor["id"]),
        office.does("accounts", "show", account),
        office.does("keys", "list", account, "--json"),
        created.stderr,
        rotated.stderr,
    ]
    assert not any(_SECRET.search(text) for text in texts)


def test_a_key_has_the_scopes_and_limits_that_were_named(office: Office) -> None:
    account = office.json("accounts", "create", "Scoped")["id"]
    words = ("--model", "solar-pro4", "--model", "solar-mini4", "--requests-per-minute", "60")
    key = office.json("keys", "create", account, "narrow", *words, "--expires-at", "2099-12-31T00:00:00Z")
    assert key["scopes"] == {"models": ["solar-pro4", "solar-mini4"]}
    assert key["limits"]["requests_per_minute"] == 60
    assert key["expires_at"] == "2099-12-31T00:00:00Z"


def test_a_key_is_bound_to_addresses_and_ends_when_it_is_told_to(office: Office) -> None:
    account = office.json("accounts", "create", "Bounds")["id"]
    key = office.json("keys", "create", account, "here", "--ip-range", "127.0.0.0/8", "--ip-range", "2001:db8::/32")
    assert key["scopes"] == {"ip_ranges": ["127.0.0.0/8", "2001:db8::/32"]}
    with office.gateway.caller(key["secret"]) as caller:
        assert caller.get("/account").status_code == 200
        changed = office.json("keys", "change", key["id"], "--expires-at", "2026-01-01T00:00:00Z", "--monthly-cap", "5")
        assert (changed["expires_at"], changed["monthly_cap"]) == ("2026-01-01T00:00:00Z", "5.00")
        assert caller.post("/chat/completions", json=QUESTION).json()["error"]["code"] == "invalid_api_key"


def test_a_revoked_key_no_longer_opens_the_gateway_and_an_overlapping_one_still_does(office: Office) -> None:
    account = office.json("accounts", "create", "Turnover")["id"]
    old = office.json("keys", "create", account, "old")
    new = office.json("keys", "rotate", old["id"], "--overlap-s", "600")
    with office.gateway.caller(old["secret"]) as caller:
        assert caller.get("/account").status_code == 200
        office.does("keys", "revoke", old["id"])
        assert caller.post("/chat/completions", json=QUESTION).json()["error"]["code"] == "invalid_api_key"
    with office.gateway.caller(new["secret"]) as caller:
        assert caller.get("/account").status_code == 200
