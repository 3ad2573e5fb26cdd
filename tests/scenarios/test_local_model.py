"""A real model on this machine: llama.cpp's own server, which nobody here wrote, with SmolLM2's weights.

Collected only where the optional packages are installed (`make model`; `.ci/run` does).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.sandbox.processes import Child
from gateway.sandbox.server import free_port
from tests.running import Gateway
from tests.scenarios.test_demo import run_demo
from tests.waiting import wait_until

MODEL = "smollm2-135m"
KEY = "up_local"
ASK = {
    "model": MODEL,
    "max_tokens": 24,
    "temperature": 0,
    "messages": [{"role": "user", "content": "What is a library?"}],
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The model's own server; gives its base URL."""
    port, log = free_port(), tmp_path_factory.mktemp("llama") / "llama.log"
    argv = [sys.executable, "-m", "gateway.sandbox.llama", "--api-key", KEY, "--port", str(port)]
    child = Child.spawn(argv, name="llama", log_path=log)
    base = f"http://127.0.0.1:{port}/v1"

    def answers() -> bool:
        try:
            return httpx.get(f"{base}/models", headers=authorization(KEY), trust_env=False).is_success
        except httpx.TransportError:
            return False

    wait_until(answers, 60, "llama.cpp answers")
    yield base
    child.kill_now()


@pytest.fixture(scope="module")
def local(llama: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    environment = {"GATEWAY_UPSTREAM_URL": llama, "GATEWAY_UPSTREAM_KEYS": KEY}
    with Gateway.started(tmp_path_factory.mktemp("local"), environment=environment) as gateway:
        card = {"effective_at": "1970-01-01T00:00:00Z", "models": {MODEL: {"input": "100", "output": "400"}}}
        gateway.post("/rate-cards", card)
        yield gateway


def authorization(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def priced(usage: dict[str, Any]) -> Decimal:
    """The second calculation. The card names no cached price: cached input costs what input costs."""
    return (int(usage["prompt_tokens"]) * Decimal(100) + int(usage["completion_tokens"]) * Decimal(400)) / 1_000_000


def test_whole_and_streamed_answers_are_counted_as_the_model_itself_counts(llama: str, local: Gateway) -> None:
    secret = local.new_key()
    with local.caller(secret) as caller:
        whole = caller.post("/chat/completions", json=ASK, timeout=60)
        assert whole.status_code == 200, whole.text
        assert Decimal(whole.headers["x-solar-cost"]) == priced(whole.json()["usage"])
        streamed = caller.post(
            "/chat/completions", json={**ASK, "stream": True, "stream_options": {"include_usage": True}}, timeout=60
        )
        events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
        assert streamed.text.rstrip().endswith("data: [DONE]")
        usage = next(event["usage"] for event in events if event.get("usage"))
        assert Decimal(usage["cost"]) == priced(usage)
        total = caller.get("/usage").json()["total"]
    direct = httpx.post(f"{llama}/chat/completions", json=ASK, headers=authorization(KEY), timeout=60, trust_env=False)
    own = direct.json()["usage"]
    assert whole.json()["usage"]["prompt_tokens"] == own["prompt_tokens"]
    assert whole.json()["usage"]["completion_tokens"] == own["completion_tokens"] == usage["completion_tokens"]
    assert total["calls"] == 2
    assert total["input_tokens"] + total["cached_input_tokens"] == 2 * own["prompt_tokens"]
    assert total["output_tokens"] == 2 * own["completion_tokens"]
    assert total["estimated_calls"] == 0


ASK_RESPONSES = {"model": MODEL, "max_output_tokens": 24, "temperature": 0, "input": "What is a library?"}


def counts(usage: dict[str, Any]) -> tuple[int, int, int]:
    """(prompt, of which cached, output) in the words of any of the three formats."""
    if "prompt_tokens" in usage:
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        return usage["prompt_tokens"], cached, usage["completion_tokens"]
    if "input_tokens_details" in usage:
        return usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"], usage["output_tokens"]
    cached = usage["cache_read_input_tokens"]  # Anthropic's input does not include them
    return usage["input_tokens"] + cached, cached, usage["output_tokens"]


def usage_of_stream(text: str) -> dict[str, Any]:
    """The usage blocks of a stream, later fields over earlier ones: Anthropic's begins with the input and ends with the output."""
    usage: dict[str, Any] = {}
    for line in text.splitlines():
        if line.startswith("data: {"):
            event = json.loads(line[6:])
            inner = event.get("response") or event.get("message") or event
            usage |= inner.get("usage") or {}
    return usage


@pytest.mark.parametrize(
    ("path", "body"), [("/chat/completions", ASK), ("/responses", ASK_RESPONSES), ("/messages", ASK)]
)
def test_each_wire_format_is_counted_as_the_model_itself_counts_cached_tokens_too(
    llama: str, local: Gateway, path: str, body: dict[str, Any]
) -> None:
    asked = {"stream_options": {"include_usage": True}} if path == "/chat/completions" else {}
    direct = httpx.post(f"{llama}{path}", json=body, headers=authorization(KEY), timeout=60, trust_env=False)
    prompt, _, output = counts(direct.json()["usage"])
    with local.caller(local.new_key()) as caller:
        whole = caller.post(path, json=body, timeout=60)
        assert whole.status_code == 200, whole.text
        streamed = caller.post(path, json={**body, "stream": True, **asked}, timeout=60)
        assert streamed.status_code == 200, streamed.text
        total = caller.get("/usage").json()["total"]
    usage = usage_of_stream(streamed.text)
    seen = [counts(whole.json()["usage"]), counts(usage)]
    assert [(each[0], each[2]) for each in seen] == [(prompt, output)] * 2
    assert seen[1][1] > 0  # asked again, the model has most of the prompt in its cache, and says so
    assert total["cached_input_tokens"] == seen[0][1] + seen[1][1]
    assert total["input_tokens"] + total["cached_input_tokens"] == 2 * prompt
    assert (total["calls"], total["estimated_calls"], total["output_tokens"]) == (2, 0, 2 * output)
    cost = (prompt * Decimal(100) + output * Decimal(400)) / 1_000_000
    assert Decimal(whole.headers["x-solar-cost"]) == Decimal(usage["cost"]) == cost
    assert Decimal(total["cost"]) == 2 * cost


def test_the_demo_tells_its_story_against_the_real_model(tmp_path: Path) -> None:
    told = run_demo(tmp_path, "--model", "local")
    invoices = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("solar-demo/*/invoice-*.json"))]
    assert len(invoices) == 2
    assert {line["model"] for invoice in invoices for line in invoice["lines"]} == {MODEL}
    assert Decimal(invoices[1]["total"]) > 0
    assert "real model" in told
