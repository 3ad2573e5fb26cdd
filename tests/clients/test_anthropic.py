"""The official `anthropic` client, pointed at the gateway without `/v1`: its key goes in `x-api-key`, which Solar itself refuses."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anthropic
import pytest
from anthropic.types import ToolParam

from tests.running import Gateway

ASK: Any = [{"role": "user", "content": "[[sim: tokens=6 cached=4]] 안녕?"}]
WEATHER: ToolParam = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def gateway(either_door: Gateway) -> Gateway:
    """Every test here runs over both doors."""
    return either_door


@pytest.fixture
def client(gateway: Gateway) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=gateway.new_key(), base_url=gateway.url, max_retries=0)


def test_a_message_has_its_text_and_its_usage(client: anthropic.Anthropic) -> None:
    message = client.messages.create(model="solar-pro4", max_tokens=64, messages=ASK, system="짧게.")
    assert [block.type for block in message.content] == ["text"]
    assert (message.stop_reason, message.model) == ("end_turn", "solar-pro4-260806")
    assert (message.usage.cache_read_input_tokens, message.usage.output_tokens) == (4, 6)


def test_a_stream_is_put_together_by_the_clients_helper_and_carries_its_cost(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model="solar-pro4", max_tokens=64, messages=ASK) as stream:
        events = list(stream)
        final = stream.get_final_message()
    assert [event.type for event in events if event.type != "text"] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 6,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert final.usage.output_tokens == 6
    costs = [
        (event.usage.model_extra or {}).get("cost") for event in events if event.type == "message_delta" and event.usage
    ]
    assert len(costs) == 1
    assert Decimal(str(costs[0])) > 0


async def test_the_async_client_streams_text(gateway: Gateway) -> None:
    async with (
        anthropic.AsyncAnthropic(api_key=gateway.new_key(), base_url=gateway.url, max_retries=0) as client,
        client.messages.stream(model="solar-mini4", max_tokens=64, messages=ASK) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])
    assert text


def test_a_tool_is_used_in_a_stream_and_its_result_is_answered_with_words(client: anthropic.Anthropic) -> None:
    question: Any = {"role": "user", "content": "서울 날씨?"}
    with client.messages.stream(
        model="solar-pro4", max_tokens=64, messages=[question], tools=[WEATHER], tool_choice={"type": "any"}
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_message()
    assert "input_json" in kinds
    [use] = [block for block in final.content if block.type == "tool_use"]
    assert (final.stop_reason, use.name, list(use.input)) == ("tool_use", "weather", ["city"])
    result: Any = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "맑음"}]}],
    }
    used: Any = {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": use.id, "name": use.name, "input": use.input}],
    }
    answer = client.messages.create(
        model="solar-pro4", max_tokens=64, messages=[question, used, result], tools=[WEATHER]
    )
    assert [block.type for block in answer.content] == ["text"]


def test_thinking_comes_in_a_block_of_its_own(client: anthropic.Anthropic) -> None:
    message = client.messages.create(
        model="solar-pro4", max_tokens=2048, messages=ASK, thinking={"type": "enabled", "budget_tokens": 1024}
    )
    assert [block.type for block in message.content] == ["thinking", "text"]


def test_what_is_only_bookkeeping_is_dropped_and_named(client: anthropic.Anthropic) -> None:
    raw = client.messages.with_raw_response.create(
        model="solar-pro4", max_tokens=64, messages=ASK, metadata={"user_id": "u"}, service_tier="auto", tools=[]
    )
    assert raw.headers["x-solar-changed"] == "metadata, service_tier, tools"


def test_refusals_come_out_as_its_own_exceptions(gateway: Gateway, client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="model_not_found"):
        client.messages.create(model="claude-9", max_tokens=64, messages=ASK)
    stranger = anthropic.Anthropic(api_key="sk-solar-nobody", base_url=gateway.url, max_retries=0)
    with pytest.raises(anthropic.AuthenticationError):
        stranger.messages.create(model="solar-pro4", max_tokens=64, messages=ASK)


def test_images_are_refused_by_solar(client: anthropic.Anthropic) -> None:
    """upstage-api.md section 3: text only on every Solar chat model."""
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    with pytest.raises(anthropic.BadRequestError, match="not supported by this model"):
        client.messages.create(model="solar-pro4", max_tokens=64, messages=[{"role": "user", "content": [image]}])


def test_counting_tokens_beforehand_is_not_offered(client: anthropic.Anthropic) -> None:
    """upstage-api.md section 1: no token-count endpoint was found; a path that is not metered is a 404."""
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model="solar-pro4", messages=ASK)
