"""What a stranger sees when something is wrong: the contract's error shape, a stable code, and no entry in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.running import Gateway

CHAT = {"model": "solar-pro4", "messages": [{"role": "user", "content": "안녕?"}]}


@pytest.fixture
def gateway(either_door: Gateway) -> Gateway:
    """Every test here runs over both doors."""
    return either_door


def error_of(answer: httpx.Response) -> Mapping[str, Any]:
    """The error object of a refusal; fails where the shape is not the contract's."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    return error  # type: ignore[no-any-return]


def calls_of(gateway: Gateway, secret: str) -> int:
    with gateway.caller(secret) as caller:
        usage = caller.get("/usage").json()
    assert usage["complete"] is True
    return int(usage["total"]["calls"])


@pytest.mark.parametrize("key", ["", "sk-solar-wrong", "nonsense", "sk-solar-" + "x" * 5000])
def test_a_missing_or_wrong_key_is_refused_in_the_same_words(gateway: Gateway, key: str) -> None:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=CHAT, headers=headers, trust_env=False)
    assert answer.status_code == 401
    assert error_of(answer)["code"] == "invalid_api_key"
    assert answer.headers["x-request-id"]
    assert key not in answer.text or not key


def test_an_unknown_model_a_broken_body_and_a_wrong_field_are_named_and_leave_no_entry(gateway: Gateway) -> None:
    secret = gateway.new_key()
    bodies = [
        (b'{"model":"gpt-9","messages":[]}', 404, "model_not_found", "model"),
        (b'{"model":"solar-pro4",', 400, "invalid_request_body", None),
        (b"[1]", 400, "invalid_request_body", None),
        (b'{"messages":[]}', 400, "invalid_request_body", "model"),
        (b'{"model":"solar-pro4","max_tokens":"x"}', 400, "invalid_request_body", "max_tokens"),
        (b'{"model":"solar-pro4","max_tokens":-1}', 400, "invalid_request_body", "max_tokens"),
        (b'{"model":"solar-pro4","n":0}', 400, "invalid_request_body", "n"),
        (b"\xff\xfe", 400, "invalid_request_body", None),
        (b"", 400, "invalid_request_body", None),
    ]
    with gateway.caller(secret) as caller:
        for body, status, code, param in bodies:
            answer = caller.post("/chat/completions", content=body)
            error = error_of(answer)
            assert (answer.status_code, error["code"], error["param"]) == (status, code, param), body
    assert calls_of(gateway, secret) == 0


def test_a_body_over_the_limit_is_refused_before_it_is_read_with_and_without_a_length(gateway: Gateway) -> None:
    secret, size = gateway.new_key(), 17 * 1024 * 1024
    pieces = (b"x" * 65536 for _ in range(size // 65536))
    for content in (b"x" * size, pieces):
        try:
            with gateway.caller(secret) as caller:
                answer = caller.post("/chat/completions", content=content)
        except httpx.WriteError:
            continue  # the refusal closed the connection while the body was still being sent
        assert answer.status_code == 413
        assert error_of(answer)["code"] == "request_too_large"
    assert calls_of(gateway, secret) == 0


def test_upstreams_own_refusals_pass_through_and_are_not_charged(gateway: Gateway) -> None:
    secret = gateway.new_key(monthly_cap="1.00")
    with gateway.caller(secret) as caller:
        seeded = caller.post("/chat/completions", json={**CHAT, "seed": 7})
        account = caller.get("/account").json()
    assert seeded.status_code == 400
    assert seeded.json()["error"]["code"] == "invalid_request_body"
    assert "seed" in seeded.json()["error"]["message"]
    assert account["month_to_date"] == {"cost": "0.000000000", "held": "0.000000000", "currency": "USD"}
    assert calls_of(gateway, secret) == 0


@pytest.mark.parametrize(
    ("directive", "status", "code"),
    [
        ("error=401:invalid_api_key", 502, "upstream_unavailable"),
        ("error=403:api_key_is_not_allowed", 502, "upstream_unavailable"),
        ("error=429:too_many_requests", 429, "rate_limit_exceeded"),
        ("error=429:usage_limit_exceeded", 503, "upstream_unavailable"),
        ("error=500", 502, "upstream_unavailable"),
        ("error=503", 503, "upstream_unavailable"),
        ("drop=1", 502, "upstream_unavailable"),
        ("cut_after=1", 502, "upstream_interrupted"),
    ],
)
def test_upstreams_faults_are_ours_to_explain_and_hide_its_keys(
    gateway: Gateway, directive: str, status: int, code: str
) -> None:
    secret = gateway.new_key()
    body = {"model": "solar-pro4", "messages": [{"role": "user", "content": f"[[sim: {directive}]] 안녕?"}]}
    with gateway.caller(secret) as caller:
        answer = caller.post("/chat/completions", json=body)
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)
    assert "up_sandbox" not in answer.text
    if status == 429:
        assert int(answer.headers["retry-after-ms"]) > 0
    assert calls_of(gateway, secret) == 0


def test_without_an_upstream_the_answer_is_a_503_and_nothing_is_charged(tmp_path: Path) -> None:
    nowhere = {"GATEWAY_UPSTREAM_URL": "http://127.0.0.1:9/v1", "GATEWAY_UPSTREAM_KEYS": "up_x"}
    with Gateway.started(tmp_path, environment=nowhere) as gateway:
        secret = gateway.new_key(monthly_cap="1.00")
        with gateway.caller(secret) as caller:
            answer = caller.post("/chat/completions", json=CHAT)
            assert answer.status_code == 503
            assert error_of(answer)["code"] == "upstream_unavailable"
            assert caller.get("/account").json()["month_to_date"]["held"] == "0.000000000"
        assert calls_of(gateway, secret) == 0


def test_a_path_that_is_not_metered_is_a_404_whatever_the_key(gateway: Gateway) -> None:
    with gateway.caller(gateway.new_key()) as caller:
        for path in ("/files", "/document-digitization/async", "/batches", "/chat/completions/x"):
            answer = caller.post(path, json={})
            assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")
        wrong_method = caller.get("/chat/completions")
    assert wrong_method.status_code == 405


def test_the_operators_desk_is_closed_to_everyone_else(gateway: Gateway) -> None:
    for headers in ({}, {"authorization": "Bearer op-wrong"}, {"authorization": f"Bearer {gateway.new_key()}"}):
        answer = httpx.get(f"{gateway.url}/operator/v1/accounts", headers=headers, trust_env=False)
        assert answer.status_code == 401
        assert error_of(answer)["code"] == "invalid_operator_token"
