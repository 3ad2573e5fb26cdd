"""Keys as callers and operators meet them, over both doors: scopes, addresses, rotation, expiry, suspension, guessing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.keys.secret import new_secret
from tests.gateway.test_refusals import CHAT, error_of
from tests.running import Gateway
from tests.waiting import wait_until

PROXY = "127.0.9.1"
BODIES = {
    "chat": ("/chat/completions", CHAT),
    "responses": ("/responses", {"model": "solar-pro4", "input": "안녕?"}),
    "messages": ("/messages", {**CHAT, "max_tokens": 5}),
    "embeddings": ("/embeddings", {"model": "embedding-query", "input": "안녕"}),
}


@pytest.fixture
def gateway(either_door: Gateway) -> Gateway:
    """Every test here runs over both doors."""
    return either_door


def asked(gateway: Gateway, secret: str, endpoint: str = "chat", **how: Any) -> tuple[int, str | None]:
    """(status, error code) of one small call."""
    path, body = BODIES[endpoint]
    with gateway.caller(secret, **how) as caller:
        answer = caller.post(path, json=body)
    return answer.status_code, None if answer.status_code == 200 else answer.json()["error"]["code"]


ALLOWED, FORBIDDEN, DEAD = (200, None), (403, "key_not_allowed"), (401, "invalid_api_key")


def test_a_key_for_some_models_and_endpoints_calls_these_and_no_others(gateway: Gateway) -> None:
    account = gateway.account()["id"]
    by_name = gateway.key(account, scopes={"endpoints": ["chat", "embeddings"]})
    by_path = gateway.key(account, scopes={"endpoints": ["/v1/chat/completions", "embeddings"]})
    for secret in (by_name, by_path):
        found = {name: asked(gateway, secret, name) for name in BODIES}
        assert found == {"chat": ALLOWED, "embeddings": ALLOWED, "responses": FORBIDDEN, "messages": FORBIDDEN}
    by_model = gateway.key(account, scopes={"models": ["embedding-query"]})
    assert (asked(gateway, by_model), asked(gateway, by_model, "embeddings")) == (FORBIDDEN, ALLOWED)
    nothing = gateway.key(account, scopes={"models": []})
    assert asked(gateway, nothing) == FORBIDDEN


def test_a_key_for_some_addresses_is_refused_from_all_others_on_every_route(gateway: Gateway) -> None:
    secret = gateway.new_key()
    bound = gateway.key(gateway.account()["id"], scopes={"ip_ranges": ["127.0.5.0/24", "2001:db8::/32"]})
    assert asked(gateway, secret, from_address="127.0.6.1") == ALLOWED
    assert asked(gateway, bound, from_address="127.0.5.77") == ALLOWED
    assert asked(gateway, bound, from_address="127.0.6.1") == FORBIDDEN
    with gateway.caller(bound, from_address="127.0.6.1") as caller:
        assert [caller.get(path).status_code for path in ("/account", "/usage", "/models")] == [403] * 3


def test_a_forwarded_address_counts_only_where_a_trusted_proxy_says_it(gateway: Gateway) -> None:
    bound = gateway.key(gateway.account()["id"], scopes={"ip_ranges": ["198.51.100.0/24", "2001:db8::/32"]})

    def via(address: str, forwarded: str) -> tuple[int, str | None]:
        return asked(gateway, bound, from_address=address, headers={"x-forwarded-for": forwarded})

    assert via(PROXY, "198.51.100.7") == ALLOWED
    assert via(PROXY, "203.0.113.1, 198.51.100.7, 127.0.9.2") == ALLOWED
    assert via(PROXY, "2001:db8::1") == ALLOWED
    assert via(PROXY, "198.51.100.7, 203.0.113.1") == FORBIDDEN
    assert via(PROXY, "nonsense") == FORBIDDEN
    assert via("127.0.0.1", "198.51.100.7") == FORBIDDEN


@pytest.mark.parametrize(
    "scopes",
    [
        {"colours": ["red"]},
        {"endpoints": ["files"]},
        {"ip_ranges": ["10.0.0.1/8"]},
        {"ip_ranges": ["everywhere"]},
        {"models": ["x"] * 300},
    ],
)
def test_a_scope_that_could_never_match_is_refused_when_it_is_made(
    gateway: Gateway, scopes: Mapping[str, list[str]]
) -> None:
    account = gateway.account()["id"]
    answer = gateway.operator.post(f"/accounts/{account}/keys", json={"name": "x", "scopes": scopes})
    assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_request_body")
    assert gateway.operator.get(f"/accounts/{account}/keys").json()["data"] == []


def test_a_rotated_key_works_until_the_stated_overlap_is_over_and_its_heir_goes_on(gateway: Gateway) -> None:
    account = gateway.account()["id"]
    old = gateway.post(f"/accounts/{account}/keys", {"name": "a", "scopes": {"endpoints": ["chat"]}})
    heir = gateway.post(f"/keys/{old['id']}/rotate", {"overlap_s": 2})
    assert (heir["rotated_from"], heir["scopes"], heir["name"]) == (old["id"], {"endpoints": ["chat"]}, "a")
    assert heir["secret"] != old["secret"]
    assert [asked(gateway, key["secret"]) for key in (old, heir)] == [ALLOWED, ALLOWED]
    wait_until(lambda: asked(gateway, old["secret"]) == DEAD, 10, "the overlap is over")
    assert asked(gateway, heir["secret"]) == ALLOWED
    at_once = gateway.post(f"/keys/{heir['id']}/rotate", {})
    assert [asked(gateway, key["secret"]) for key in (heir, at_once)] == [DEAD, ALLOWED]
    listed = gateway.operator.get(f"/accounts/{account}/keys").json()["data"]
    assert [key["id"] for key in listed] == [old["id"], heir["id"], at_once["id"]]
    assert not any("secret" in key for key in listed)


def test_a_key_ends_at_the_instant_that_it_is_given_later_and_a_revoked_one_cannot_be_changed(gateway: Gateway) -> None:
    account = gateway.account()["id"]
    key = gateway.post(f"/accounts/{account}/keys", {"name": "a"})
    assert asked(gateway, key["secret"]) == ALLOWED
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    changed = gateway.operator.patch(f"/keys/{key['id']}", json={"expires_at": past})
    assert (changed.status_code, changed.json()["name"]) == (200, "a")
    assert asked(gateway, key["secret"]) == DEAD
    gateway.operator.patch(f"/keys/{key['id']}", json={"expires_at": None})
    # A refusal is remembered for as long as anything else that is known of a key: `key_cache_s`.
    wait_until(lambda: asked(gateway, key["secret"]) == ALLOWED, 10, "the key lives again")
    wait_until(lambda: {asked(gateway, key["secret"]) for _ in range(8)} == {ALLOWED}, 10, "at every worker")
    gateway.operator.delete(f"/keys/{key['id']}")
    assert asked(gateway, key["secret"]) == DEAD
    refused = gateway.operator.patch(f"/keys/{key['id']}", json={"expires_at": None})
    assert (refused.status_code, error_of(refused)["code"]) == (409, "key_revoked")
    assert asked(gateway, key["secret"]) == DEAD


def test_all_keys_of_a_suspended_or_closed_account_are_refused_until_it_is_restored(gateway: Gateway) -> None:
    account = gateway.account()["id"]
    secrets = [gateway.key(account) for _ in range(3)]
    assert {asked(gateway, secret) for secret in secrets} == {ALLOWED}
    for status in ("suspended", "closed"):
        gateway.operator.patch(f"/accounts/{account}", json={"status": status})
        assert {asked(gateway, secret, name) for secret in secrets for name in BODIES} == {(403, "account_suspended")}
        gateway.operator.patch(f"/accounts/{account}", json={"status": "active"})
        wait_until(lambda: {asked(gateway, one) for one in secrets * 3} == {ALLOWED}, 10, "the account calls again")


def test_who_guesses_keys_is_slowed_and_nobody_else_is(gateway: Gateway) -> None:
    victim, guesser = gateway.new_key(), f"127.0.7.{1 + hash(gateway.url) % 250}"
    statuses: list[int] = []
    begun = time.monotonic()
    with gateway.caller(victim, from_address=guesser) as known:
        assert known.post("/chat/completions", json=CHAT).status_code == 200
        with gateway.caller("", from_address=guesser) as caller:
            for _ in range(400):
                answer = caller.get("/models", headers={"authorization": f"Bearer {new_secret()}"})
                statuses.append(answer.status_code)
        assert set(statuses) == {401, 429}
        assert error_of(answer)["code"] == "rate_limit_exceeded"
        assert 0 < int(answer.headers["retry-after-ms"]) <= 2000
        # The key that is in use there goes on, on the connection (and worker) that knows it; so does everyone elsewhere.
        assert known.post("/chat/completions", json=CHAT).status_code == 200
    assert statuses.count(401) <= 50 + (time.monotonic() - begun) + 2  # over all workers together: one more each second
    assert asked(gateway, victim, from_address="127.0.8.1") == ALLOWED
    assert asked(gateway, gateway.new_key()) == ALLOWED


def test_a_cap_in_won_above_nine_million_dollars_is_refused_for_accounts_balances_and_keys(gateway: Gateway) -> None:
    day = datetime.now(UTC).date().replace(day=1)
    for back in (0, 40):
        rate = {"date": (day - timedelta(days=back)).isoformat(), "pair": "USD/KRW", "rate": "1000"}
        assert gateway.operator.post("/fx-rates", json=rate).status_code in (201, 409)
    high, low = "9000000001", "9000000000"
    for field in ("monthly_cap", "prepaid_balance"):
        refused = gateway.operator.post("/accounts", json={"name": "x", "currency": "KRW", field: high})
        assert (refused.status_code, error_of(refused)["code"]) == (422, "cap_too_large")
        account = gateway.account(currency="KRW", **{field: low})["id"]
        refused = gateway.operator.patch(f"/accounts/{account}", json={field: high})
        assert (refused.status_code, error_of(refused)["code"]) == (422, "cap_too_large")
    refused = gateway.operator.post(f"/accounts/{account}/keys", json={"name": "x", "monthly_cap": high})
    assert (refused.status_code, error_of(refused)["code"]) == (422, "cap_too_large")
    key = gateway.post(f"/accounts/{account}/keys", {"name": "x", "monthly_cap": low})
    refused = gateway.operator.patch(f"/keys/{key['id']}", json={"monthly_cap": high})
    assert (refused.status_code, error_of(refused)["code"]) == (422, "cap_too_large")
