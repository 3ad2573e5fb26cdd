"""Limits, caps and keys as a caller meets them, over two workers."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tests.gateway.test_refusals import CHAT, error_of
from tests.running import Gateway


def test_requests_per_minute_are_strict_and_the_headers_agree(gateway: Gateway) -> None:
    secret = gateway.new_key(limits={"requests_per_minute": 5})
    with gateway.caller(secret) as caller:
        answers = [caller.post("/chat/completions", json=CHAT) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers[:5]] == ["4", "3", "2", "1", "0"]
    refused = answers[-1]
    assert error_of(refused)["code"] == "rate_limit_exceeded"
    assert 50_000 < int(refused.headers["retry-after-ms"]) <= 60_200
    assert refused.headers["retry-after"].isdigit()
    assert refused.headers["x-ratelimit-limit-requests"] == "5"
    assert refused.headers["x-ratelimit-reset-requests"].endswith("s")


def test_a_model_has_limits_of_its_own_and_they_are_shown_where_they_were_set(gateway: Gateway) -> None:
    own = {"requests_per_minute": 2, "tokens_per_minute": None, "concurrency": None}
    account = gateway.account(limits={"requests_per_minute": 4, "models": {"solar-pro4": own}})
    assert account["limits"]["models"] == {"solar-pro4": own}
    secret = gateway.key(account["id"])
    with gateway.caller(secret) as caller:
        asked = ["solar-pro4"] * 3 + ["solar-mini4"] * 3
        answers = [caller.post("/chat/completions", json={**CHAT, "model": model}) for model in asked]
        assert caller.get("/account").json()["limits"] == account["limits"]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 200, 200, 429]
    assert "models" not in gateway.account()["limits"]
    wrong = {"name": "x", "limits": {"models": {"solar-pro4": {"concurrency": 0}}}}
    refused = gateway.operator.post("/accounts", json=wrong)
    assert (refused.status_code, error_of(refused)["param"]) == (400, "limits.models.solar-pro4.concurrency")


def test_calls_at_once_over_two_workers_never_pass_the_limit(gateway: Gateway) -> None:
    secret = gateway.new_key(limits={"concurrency": 3})
    slow = {"model": "solar-pro4", "messages": [{"role": "user", "content": "[[sim: delay_ms=700]] 안녕?"}]}

    def one(_: int) -> int:
        with gateway.caller(secret) as caller:
            return caller.post("/chat/completions", json=slow).status_code

    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(one, range(12)))
    assert statuses.count(200) == 3
    assert statuses.count(429) == 9
    assert one(0) == 200


def test_a_cap_is_never_passed_by_parallel_calls_and_no_hold_is_left_over(gateway: Gateway) -> None:
    account = gateway.account(monthly_cap="0.0100")
    secret = gateway.key(account["id"])
    body = {
        "model": "solar-pro4",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": "[[sim: tokens=1000]] 안녕?"}],
    }

    def one(_: int) -> tuple[int, Decimal]:
        with gateway.caller(secret) as caller:
            answer = caller.post("/chat/completions", json=body)
            return answer.status_code, Decimal(answer.headers.get("x-solar-cost", "0"))

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(one, range(40)))
    charged = sum(cost for _, cost in results)
    assert Decimal(0) < charged <= Decimal("0.01")
    assert {status for status, _ in results} == {200, 402}
    with gateway.caller(secret) as caller:
        account_view = caller.get("/account").json()
        usage = caller.get("/usage").json()
    assert account_view["month_to_date"]["held"] == "0.000000000"
    assert Decimal(usage["total"]["cost"]) == charged


def test_a_call_that_names_no_bound_gets_the_one_that_its_budget_covers_and_is_told_so(gateway: Gateway) -> None:
    secret = gateway.new_key(monthly_cap="0.0015")
    asked = {"model": "solar-pro4", "messages": [{"role": "user", "content": "[[sim: tokens=5000]] 안녕?"}]}
    with gateway.caller(secret) as caller:
        for path, field, body in (
            ("/chat/completions", "max_tokens", asked),
            ("/responses", "max_output_tokens", {"model": "solar-pro4", "input": "[[sim: tokens=200]] 안녕?"}),
        ):
            answer = caller.post(path, json=body)
            assert answer.status_code in (200, 402), answer.text
            if answer.status_code == 200:
                assert answer.headers["x-solar-changed"] == field
        bounded = caller.post("/chat/completions", json={**asked, "max_tokens": 5000})
        total = caller.get("/usage").json()["total"]
    assert bounded.status_code == 402
    assert total["calls"] >= 1
    assert Decimal("0.0005") < Decimal(total["cost"]) <= Decimal("0.0015")


def test_an_empty_prepaid_balance_is_insufficient_quota(gateway: Gateway) -> None:
    secret = gateway.new_key(billing="prepaid", prepaid_balance="0.00")
    with gateway.caller(secret) as caller:
        answer = caller.post("/chat/completions", json=CHAT)
    assert answer.status_code == 402
    assert error_of(answer)["code"] == "insufficient_quota"


def test_a_revoked_key_is_refused_from_its_next_call_on_at_every_worker(gateway: Gateway) -> None:
    key = gateway.post(f"/accounts/{gateway.account()['id']}/keys", {"name": "short-lived"})

    def one(_: int) -> int:
        with gateway.caller(key["secret"]) as caller:
            return caller.post("/chat/completions", json=CHAT).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(16))) == {200}
        assert gateway.operator.delete(f"/keys/{key['id']}").json()["revoked_at"]
        begun = time.monotonic()
        assert set(pool.map(one, range(16))) == {401}
    assert time.monotonic() - begun < 5


def test_a_rotated_key_overlaps_and_an_expired_one_is_dead(gateway: Gateway) -> None:
    account = gateway.account()["id"]
    old = gateway.post(f"/accounts/{account}/keys", {"name": "a"})
    new = gateway.post(f"/keys/{old['id']}/rotate", {"overlap_s": 600})
    gone = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
    expired = gateway.key(account, expires_at=gone)
    statuses = []
    for secret in (old["secret"], new["secret"], expired):
        with gateway.caller(secret) as caller:
            statuses.append(caller.post("/chat/completions", json=CHAT).status_code)
    assert statuses == [200, 200, 401]


def test_a_suspended_account_and_a_scope_are_refused_in_their_own_words(gateway: Gateway) -> None:
    account = gateway.account()["id"]
    narrow = gateway.key(account, scopes={"models": ["solar-mini4"], "endpoints": ["chat"]})
    with gateway.caller(narrow) as caller:
        refused = caller.post("/chat/completions", json=CHAT)
        assert (refused.status_code, error_of(refused)["code"]) == (403, "key_not_allowed")
        assert caller.post("/chat/completions", json={**CHAT, "model": "solar-mini4"}).status_code == 200
        embeddings = caller.post("/embeddings", json={"model": "embedding-query", "input": "안녕"})
        assert embeddings.status_code == 403
        gateway.operator.patch(f"/accounts/{account}", json={"status": "suspended"})
        suspended = caller.post("/chat/completions", json={**CHAT, "model": "solar-mini4"})
    assert (suspended.status_code, error_of(suspended)["code"]) == (403, "account_suspended")


def test_a_card_posted_now_prices_the_next_call_at_every_worker(gateway: Gateway) -> None:
    account = gateway.account()["id"]
    secret = gateway.key(account)

    def costs() -> set[str]:
        with ThreadPoolExecutor(8) as pool:
            return set(pool.map(lambda _: cost_of_one(), range(16)))

    def cost_of_one() -> str:
        with gateway.caller(secret) as caller:
            return str(caller.post("/chat/completions", json=CHAT).headers["x-solar-cost"])

    assert costs() == {"0.0000285"}
    card = {
        "effective_at": datetime.now(UTC).isoformat(),
        "account_id": account,
        "models": {"solar-pro4": {"input": "1", "output": "2"}},
    }
    gateway.post("/rate-cards", card)
    assert costs() == {"0.000053"}
    backdated = gateway.operator.post("/rate-cards", json={**card, "effective_at": "2026-01-01T00:00:00Z"})
    assert (backdated.status_code, error_of(backdated)["code"]) == (409, "rate_card_in_use")
