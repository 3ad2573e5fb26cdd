"""The simulator refuses what Solar refuses (upstage-api.md, 2026-11-23): status, code and body, as tables over real HTTP."""

from typing import Any

import httpx
import pytest

from tests.gateway.sandbox.conftest import Solar, start_solar, stop_solar

HELLO = [{"role": "user", "content": "hello"}]
TOOL = {"type": "function", "function": {"name": "look"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]


def _format(schema: dict[str, Any], *, strict: bool = True) -> dict[str, Any]:
    return {
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": strict, "schema": schema}}
    }


@pytest.mark.parametrize(
    "change",
    [{name: None} for name in ("seed", "logprobs", "metadata", "service_tier", "user", "logit_bias", "top_logprobs")]
    + [
        {"store": False},
        {"model": "solar-pro3-260126"},
        {"model": "solar-open2"},
        {"model": "embedding-query"},
        {"model": "solar-decide"},
        {"model": None},
        {"messages": []},
        {"messages": [{"role": "developer", "content": "x"}]},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": IMAGE},
        {"tools": []},
        {"tools": [{"type": "function", "function": {"name": "look", "strict": True}}]},
        {"tools": [TOOL], "model": "syn-pro"},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}},
        {"tool_choice": "required"},
        {"model": "solar-mini", "reasoning_effort": "low"},
        {"model": "syn-pro", "reasoning_effort": "low"},
        {"model": "solar-pro3", "reasoning_effort": "none"},
        {"model": "solar-pro4", "reasoning_effort": "highest"},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "xml"}},
        _format(SCHEMA, strict=False),
        _format({**SCHEMA, "additionalProperties": True}),
        {"temperature": 2.1},
        {"top_p": "1"},
        {"max_tokens": 0},
        {"max_tokens": True},
        {"n": 2, "stream": True},
        {"stream_options": {"include_usage": True}},
        {"stream": "yes"},
    ],
)
def test_chat_refuses_what_solar_refuses(solar: Solar, change: dict[str, Any]) -> None:
    reply = solar.post("/v1/chat/completions", {"model": "solar-pro4", "messages": HELLO, **change})
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_request_body")
    assert set(error) == {"message", "type", "param", "code"}
    assert "x-upstage-ratelimit-limit-requests" in reply.headers


def test_the_texts_clients_branch_on_are_there(solar: Solar) -> None:
    assert "Unrecognized request arguments supplied: store" in solar.chat("hi", store=False).text
    assert "invalid or no longer supported" in solar.chat("hi", model="solar-pro2-250710").text
    assert "32768" in solar.chat("hi", model="solar-mini", max_tokens=40_000).text


@pytest.mark.parametrize(
    "change",
    [
        {"max_completion_tokens": 5},
        {"model": "solar-pro4", "reasoning_effort": None},
        {"model": "solar-pro3", "reasoning_effort": "medium"},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "look"}}},
        {"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "JSON please"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
        {"prompt_cache_key": "s", "frequency_penalty": 0, "top_k": 5, "n": 2, "stop": "x"},
        _format(SCHEMA),
    ],
)
def test_chat_takes_what_solar_takes(solar: Solar, change: dict[str, Any]) -> None:
    reply = solar.post("/v1/chat/completions", {"model": "solar-pro4", "messages": HELLO, **change})
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "invalid_api_key"),
        ({"authorization": "Bearer up_wrong"}, 401, "invalid_api_key"),
        ({"x-api-key": "up_sandbox"}, 401, "invalid_api_key"),
        ({"authorization": "Bearer up_blocked"}, 401, "api_key_is_blocked"),
        ({"authorization": "Bearer up_nocredit"}, 403, "api_key_is_not_allowed"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/solar/embeddings"])
def test_only_a_good_bearer_key_opens_and_no_other_call_is_recorded(
    solar: Solar, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    reply = httpx.post(f"http://127.0.0.1:{solar.port}{path}", json={}, headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert solar.truth() == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("POST", "/v1/batches", 404),
        ("GET", "/", 404),
    ],
)
def test_a_wrong_path_or_method_is_refused_without_a_body(solar: Solar, method: str, path: str, status: int) -> None:
    reply = solar.http.request(method, path)
    assert (reply.status_code, reply.content) == (status, b"")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": "\xff"}', b'"text"'])
def test_a_body_that_is_no_json_object_is_a_400(solar: Solar, body: bytes) -> None:
    reply = solar.http.post("/v1/chat/completions", content=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request_body")


@pytest.mark.parametrize(
    "change",
    [
        {"input": ""},
        {"input": []},
        {"input": ["a", ""]},
        {"input": [1, 2]},
        {"input": ["a"] * 101},
        {"input": "word " * 8_001},
        {"input": ["word " * 7_000] * 30},
        {"dimensions": 256},
        {"model": "solar-pro4"},
        {"encoding_format": "int8"},
    ],
)
def test_embeddings_refuse_what_solar_refuses(solar: Solar, change: dict[str, Any]) -> None:
    reply = solar.post("/v1/embeddings", {"model": "solar-embedding-2-query", "input": "hello", **change})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request_body")


def test_models_lists_aliases_and_snapshots_without_sizes(solar: Solar) -> None:
    rows = solar.http.get("/v1/solar/models").json()["data"]
    assert {"solar-pro4", "solar-pro4-260806", "solar-decide"} <= {row["id"] for row in rows}
    assert set(rows[0]) == {"id", "object", "created", "owned_by"}


def test_options_set_keys_retire_models_and_keep_a_rate_limit() -> None:
    solar = start_solar(
        "--keys", "up_a,up_b", "--retired", "solar-pro2", "--requests-per-minute", "2", "--records-max", "2"
    )
    try:
        assert solar.chat("hi").status_code == 401
        solar.http.headers["authorization"] = "Bearer up_b"
        assert "no longer supported" in solar.chat("hi", model="solar-pro2-251215").text
        replies = [solar.chat("hi", model="solar-mini") for _ in range(5)]
        limited = replies[-1]
        assert (limited.status_code, limited.json()["error"]["code"]) == (429, "too_many_requests")
        assert int(limited.headers["x-upstage-ratelimit-retry-after-requests"]) > 1_700_000_000
        assert "x-upstage-ratelimit-retry-after-requests" not in replies[0].headers
        assert solar.http.get("/_sim/truth").json()["dropped"] == 4
    finally:
        assert stop_solar(solar) == 0
