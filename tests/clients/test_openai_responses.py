"""The official `openai` client's responses API: whole, streamed with its events, tools, and what Solar refuses of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import openai
import pytest
from openai.types.responses import FunctionToolParam, ResponseCompletedEvent
from pydantic import BaseModel

from tests.running import Gateway

ASK = "[[sim: tokens=6 cached=4]] 안녕?"
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}


class City(BaseModel):
    name: str
    people: int


@pytest.fixture
def gateway(either_door: Gateway) -> Gateway:
    """Every test here runs over both doors."""
    return either_door


@pytest.fixture
def client(gateway: Gateway) -> openai.OpenAI:
    return openai.OpenAI(api_key=gateway.new_key(), base_url=f"{gateway.url}/v1", max_retries=0)


def test_a_whole_response_has_its_text_and_its_usage(client: openai.OpenAI) -> None:
    response = client.responses.create(model="solar-pro4", input=ASK, instructions="짧게.")
    assert (response.status, response.model) == ("completed", "solar-pro4-260806")
    assert response.output_text
    assert response.usage is not None
    assert (response.usage.input_tokens_details.cached_tokens, response.usage.output_tokens) == (4, 6)


def test_a_stream_has_all_events_in_order_and_its_cost_in_the_last(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="solar-pro4", input=ASK, stream=True))
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 6,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [getattr(event, "sequence_number", None) for event in events] == list(range(len(events)))
    last = events[-1]
    assert isinstance(last, ResponseCompletedEvent)
    usage = last.response.usage
    assert usage is not None
    assert usage.model_extra is not None
    assert (usage.output_tokens, usage.model_extra["currency"]) == (6, "USD")
    assert Decimal(usage.model_extra["cost"]) > 0


async def test_the_async_client_streams_a_tool_call_with_the_helper(gateway: Gateway) -> None:
    async with (
        openai.AsyncOpenAI(api_key=gateway.new_key(), base_url=f"{gateway.url}/v1", max_retries=0) as client,
        client.responses.stream(
            model="solar-pro4", input="서울 날씨?", tools=[WEATHER], tool_choice="required"
        ) as stream,
    ):
        kinds = {event.type async for event in stream}
        final = await stream.get_final_response()
    assert {"response.function_call_arguments.delta", "response.function_call_arguments.done"} <= kinds
    assert [(item.type, getattr(item, "name", None)) for item in final.output] == [("function_call", "weather")]


def test_a_tools_result_goes_back_as_an_item_of_the_input(client: openai.OpenAI) -> None:
    first = client.responses.create(
        model="solar-pro4", input="서울 날씨?", tools=[WEATHER], tool_choice="required", parallel_tool_calls=True
    )
    [call] = [item for item in first.output if item.type == "function_call"]
    second = client.responses.create(
        model="solar-pro4",
        input=[
            {"role": "user", "content": "서울 날씨?"},
            {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
            {"type": "function_call_output", "call_id": call.call_id, "output": "맑음"},
        ],
        tools=[WEATHER],
    )
    assert second.output_text


def test_a_strict_schema_comes_back_as_the_clients_own_type(client: openai.OpenAI) -> None:
    response = client.responses.parse(model="solar-pro4", input="서울은?", text_format=City)
    assert isinstance(response.output_parsed, City)


def test_what_is_not_on_solars_page_is_accepted_and_ignored(client: openai.OpenAI) -> None:
    """upstage-api.md section 4: lax, unlike chat. `store: false` is dropped on the way, which changes nothing."""
    response = client.responses.create(
        model="solar-pro4", input=ASK, store=False, metadata={"a": "b"}, service_tier="auto", top_logprobs=2
    )
    assert response.output_text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"store": True}, "'store' true is not supported"),
        (
            {
                "input": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"}
                        ],
                    }
                ]
            },
            "input_image",
        ),
    ],
)
def test_what_would_need_a_memory_or_eyes_is_refused_by_solar(
    client: openai.OpenAI, fields: dict[str, Any], words: str
) -> None:
    """upstage-api.md section 4: stateless and text only; these are rejected with 400."""
    asked: dict[str, Any] = {"model": "solar-pro4", "input": ASK, **fields}
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**asked)
    assert words in refused.value.message


def test_a_response_cannot_be_fetched_again_because_none_is_kept(client: openai.OpenAI) -> None:
    """upstage-api.md section 4: stateless. The path is not metered, so it is not passed on."""
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")
