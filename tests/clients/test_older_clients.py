"""`litellm` and `llama-index-llms-upstage`, as programs in an environment of their own: collected where `make clients` has made it."""

from __future__ import annotations

from tests.clients.older import run_program
from tests.running import Gateway


def booked(gateway: Gateway, secret: str) -> list[int]:
    """Calls, of which estimated, and output tokens, as the ledger has them."""
    with gateway.caller(secret) as caller:
        usage = caller.get("/usage").json()
    assert usage["complete"] is True
    total = usage["total"]
    return [total["calls"], total["estimated_calls"], total["output_tokens"]]


def test_litellm_calls_both_wire_formats_and_each_call_is_booked_once(gateway: Gateway) -> None:
    secret = gateway.new_key()
    seen = run_program("litellm", gateway.url, secret)
    assert seen["chat"][0] == seen["stream"][0]
    assert seen["messages"][0] == seen["messages_stream"]
    counts = seen["chat"][1]
    assert counts[1:] == [4, 5]
    assert seen["stream"][1] == seen["messages"][1] == counts
    assert seen["responses"] == [counts[0], 5]
    assert seen["tool"] == ["weather", "tool_calls"]
    assert seen["embeddings"] == [1024, 1024]
    calls, estimated, output_tokens = booked(gateway, secret)
    assert (calls, estimated) == (7, 0)  # two embeddings are one call; the refused one is none
    assert output_tokens > 5 * 5
    # upstage-api.md section 3: seed is not offered.
    assert seen["seed"][0] == 400
    assert "Unrecognized request arguments supplied: seed" in seen["seed"][1]


def test_llama_index_calls_the_older_base_path_and_each_call_is_booked_once(gateway: Gateway) -> None:
    secret = gateway.new_key()
    seen = run_program("llama_index", gateway.url, secret)
    text, prompt_tokens, output_tokens = seen["chat"]
    assert text
    assert text == seen["stream"] == seen["async"]
    assert (prompt_tokens > 0, output_tokens) == (True, 5)
    assert seen["complete"]
    assert seen["tool"] == ["add"]
    # upstage-api.md section 3: solar-mini answers any reasoning_effort with 400; the gateway takes the field out (x-solar-changed).
    assert seen["effort"] == 5
    assert booked(gateway, secret)[:2] == [6, 0]
    # upstage-api.md section 3: logprobs and top_logprobs are not offered.
    assert seen["logprobs"][0] == 400
    assert "Unrecognized request arguments supplied: logprobs, top_logprobs" in seen["logprobs"][1]
