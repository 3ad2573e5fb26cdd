"""Every metered endpoint through the gateway, whole and streamed, against the simulator's own records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.running import Gateway

DIRECTIVE = "[[sim: tokens=12 cached=4]] 안녕?"
CHAT = {"model": "solar-pro4", "messages": [{"role": "user", "content": DIRECTIVE}]}
RESPONSES = {"model": "solar-pro4", "input": DIRECTIVE}
MESSAGES = {"model": "solar-pro4", "max_tokens": 64, "messages": [{"role": "user", "content": DIRECTIVE}]}
DECIDE = {
    "model": "solar-decide",
    "state": "비가 온다",
    "questions": {"umbrella": {"type": "choice", "instructions": "우산?", "criteria": {"yes": "예", "no": "아니오"}}},
}
EXTRACTION = {
    "model": "information-extract",
    "messages": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}]}
    ],
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "x",
            "schema": {"type": "object", "properties": {"name": {"type": "string"}}},
        },
    },
}


@pytest.fixture
def gateway(either_door: Gateway) -> Gateway:
    """Every test here runs over both doors."""
    return either_door


@pytest.fixture
def caller(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.caller(gateway.new_key()) as client:
        yield client


def total_of(caller: httpx.Client) -> Any:
    usage = caller.get("/usage").json()
    assert usage["complete"] is True
    return usage["total"]


def last_record(gateway: Gateway) -> dict[str, Any]:
    return gateway.truth()[-1]


@pytest.mark.parametrize("base", ["", "/solar"])
@pytest.mark.parametrize(
    ("path", "body"), [("/chat/completions", CHAT), ("/responses", RESPONSES), ("/messages", MESSAGES)]
)
def test_a_whole_answer_is_counted_as_upstream_served_it(
    gateway: Gateway, caller: httpx.Client, base: str, path: str, body: dict[str, Any]
) -> None:
    answer = caller.post(base + path, json=body)
    assert answer.status_code == 200, answer.text
    truth, total = last_record(gateway), total_of(caller)
    assert (truth["completion_tokens"], truth["cached_tokens"]) == (12, 4)
    assert total["input_tokens"] == truth["prompt_tokens"] - 4
    assert (total["cached_input_tokens"], total["output_tokens"], total["estimated_calls"]) == (4, 12, 0)
    cost = ((truth["prompt_tokens"] - 4) * Decimal("0.30") + 4 * Decimal("0.06") + 12 * Decimal("1.20")) / 1_000_000
    assert Decimal(answer.headers["x-solar-cost"]) == Decimal(total["cost"]) == cost


@pytest.mark.parametrize(
    ("path", "body"), [("/chat/completions", CHAT), ("/responses", RESPONSES), ("/messages", MESSAGES)]
)
def test_a_stream_ends_with_its_cost_in_the_formats_own_usage_event(
    gateway: Gateway, caller: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    asked = {"stream_options": {"include_usage": True}} if path == "/chat/completions" else {}
    answer = caller.post(path, json={**body, "stream": True, **asked})
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    blocks = [event.get("usage") or (event.get("response") or {}).get("usage") for event in events]
    costs = [block["cost"] for block in blocks if block and "cost" in block]
    total = total_of(caller)
    assert (total["calls"], total["output_tokens"], total["cached_input_tokens"], total["estimated_calls"]) == (
        1,
        12,
        4,
        0,
    )
    assert [Decimal(cost) for cost in costs] == [Decimal(total["cost"])]
    kinds = [event.get("type") for event in events]
    ends = {"/responses": "response.completed", "/messages": "message_stop", "/chat/completions": None}
    assert kinds[-1] == ends[path]


@pytest.mark.parametrize(
    ("path", "body", "directive"),
    [
        ("/chat/completions", CHAT, "cut_after=6"),
        ("/responses", RESPONSES, "cut_after=9"),
        ("/messages", MESSAGES, "cut_after=9"),
        ("/chat/completions", CHAT, "error_after=6"),
        ("/messages", MESSAGES, "error_after=9"),
    ],
)
def test_a_stream_that_breaks_off_ends_in_an_error_of_its_format_and_is_charged_as_an_estimate(
    caller: httpx.Client, path: str, body: dict[str, Any], directive: str
) -> None:
    broken = json.loads(json.dumps({**body, "stream": True}).replace("tokens=12 cached=4", f"tokens=40 {directive}"))
    answer = caller.post(path, json=broken)
    assert answer.status_code == 200
    last = [line for line in answer.text.splitlines() if line.startswith("data: ")][-1]
    error = json.loads(last[6:])
    code = error["error"]["code"] if path != "/responses" else error["code"]
    assert code == "upstream_interrupted"
    assert "[DONE]" not in answer.text
    total = total_of(caller)
    assert (total["calls"], total["estimated_calls"]) == (1, 1)
    assert 1 <= total["output_tokens"] <= 10


def test_decisions_cost_their_input_only(gateway: Gateway, caller: httpx.Client) -> None:
    answer = caller.post("/systemone", json=DECIDE)
    assert answer.status_code == 200, answer.text
    usage, total = answer.json()["usage"], total_of(caller)
    assert total["input_tokens"] == usage["input_tokens"]
    assert Decimal(total["cost"]) == usage["input_tokens"] * Decimal("0.10") / 1_000_000


@pytest.mark.parametrize(("mode", "price"), [("standard", "0.01"), ("enhanced", "0.03")])
def test_documents_are_counted_by_page_and_mode(caller: httpx.Client, mode: str, price: str) -> None:
    pdf = b"%PDF-1.4 [[sim: pages=7]]"
    form = {"model": "document-parse", "mode": mode}
    answer = caller.post("/document-digitization", data=form, files={"document": ("a.pdf", pdf)})
    assert answer.status_code == 200, answer.text
    total = total_of(caller)
    assert (total["pages"], total["estimated_calls"], Decimal(total["cost"])) == (7, 0, 7 * Decimal(price))
    assert Decimal(answer.headers["x-solar-cost"]) == 7 * Decimal(price)


def test_an_extraction_whose_answer_names_no_pages_is_counted_from_the_request_and_says_so(
    caller: httpx.Client,
) -> None:
    answer = caller.post("/information-extraction", json=EXTRACTION)
    assert answer.status_code == 200, answer.text
    total = total_of(caller)
    assert (total["pages"], total["estimated_calls"], Decimal(total["cost"])) == (1, 1, Decimal("0.04"))


def test_what_solar_would_refuse_by_name_is_taken_out_and_named(caller: httpx.Client) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}
    asked = {
        "model": "solar-pro3",
        "messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "안녕?"}],
        "store": False,
        "metadata": {"a": "b"},
        "tools": [tool],
        "reasoning_effort": "xhigh",
    }
    answer = caller.post("/chat/completions", json=asked)
    assert answer.status_code == 200, answer.text
    changed = answer.headers["x-solar-changed"].split(", ")
    assert changed == ["store", "metadata", "tools.function.strict", "messages.role", "reasoning_effort"]
    empty = caller.post("/chat/completions", json={**CHAT, "tools": []})
    assert (empty.status_code, empty.headers["x-solar-changed"]) == (200, "tools")
    small = caller.post("/chat/completions", json={**CHAT, "model": "solar-mini", "reasoning_effort": "high"})
    assert (small.status_code, small.headers["x-solar-changed"]) == (200, "reasoning_effort")
    assert "x-solar-changed" not in caller.post("/chat/completions", json=CHAT).headers


def test_what_has_a_meaning_that_solar_does_not_offer_is_left_for_solar_to_refuse(caller: httpx.Client) -> None:
    for field in ({"seed": 7}, {"logprobs": True}, {"logit_bias": {"1": 5}}):
        answer = caller.post("/chat/completions", json={**CHAT, **field})
        assert answer.status_code == 400, field
        assert answer.json()["error"]["code"] == "invalid_request_body"
    assert total_of(caller)["calls"] == 0


def test_errors_on_messages_have_anthropics_shape(gateway: Gateway, caller: httpx.Client) -> None:
    wrong = httpx.post(
        f"{gateway.url}/v1/messages", json=MESSAGES, headers={"x-api-key": "sk-solar-no"}, trust_env=False
    )
    assert wrong.status_code == 401
    assert wrong.json()["type"] == "error"
    assert wrong.json()["error"]["type"] == "authentication_error"
    assert wrong.json()["error"]["code"] == "invalid_api_key"
    missing = caller.post("/messages", json={**MESSAGES, "model": "solar-open2"})
    assert missing.json()["error"]["type"] == "not_found_error"
    assert "solar-pro4" in missing.json()["error"]["message"]


def test_an_anthropic_key_header_is_turned_into_what_solar_wants(gateway: Gateway) -> None:
    headers = {"x-api-key": gateway.new_key(), "anthropic-version": "2023-06-01"}
    answer = httpx.post(f"{gateway.url}/v1/messages", json=MESSAGES, headers=headers, trust_env=False)
    assert answer.status_code == 200
    assert answer.json()["type"] == "message"


def test_a_retired_model_is_not_found_and_its_successor_is_named(caller: httpx.Client) -> None:
    answer = caller.post("/chat/completions", json={**CHAT, "model": "solar-pro2-250909"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert "solar-pro4" in answer.json()["error"]["message"]


def test_a_model_that_has_a_price_but_was_switched_off_upstream_is_not_found_and_costs_nothing(
    gateway: Gateway, caller: httpx.Client
) -> None:
    # Upstream answers 400 invalid_request_body for a model that it has retired (upstage-api.md section 2).
    asked = json.loads(
        json.dumps({**CHAT, "model": "solar-pro2"}).replace("tokens=12 cached=4", "error=400:invalid_request_body")
    )
    answer = caller.post("/chat/completions", json=asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert "retired" in answer.json()["error"]["message"]
    assert total_of(caller)["calls"] == 0
    told = [line for line in gateway.log().splitlines() if answer.headers["x-request-id"] in line]
    assert [line for line in told if "upstream_attempt_lost" in line] == []  # nor is a cost of ours pending for it


def test_a_stream_without_its_done_and_with_keep_alives_passes_as_it_is_and_is_counted_exactly(
    caller: httpx.Client,
) -> None:
    asked = json.loads(json.dumps({**CHAT, "stream": True}).replace("cached=4", "keepalive=3 no_done=1"))
    answer = caller.post("/chat/completions", json=asked)
    assert ": " in answer.text
    assert "[DONE]" not in answer.text
    assert '"error"' not in answer.text
    total = total_of(caller)
    assert (total["calls"], total["output_tokens"], total["estimated_calls"]) == (1, 12, 0)
