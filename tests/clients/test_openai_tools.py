"""The official `openai` client: tools, structured output, and what Solar itself refuses, rule by rule of upstage-api.md."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageFunctionToolCall
from pydantic import BaseModel

from tests.running import Gateway

WEATHER: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "clock",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
    },
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


def calls_of(completion: Any) -> list[ChatCompletionMessageFunctionToolCall]:
    calls: list[ChatCompletionMessageFunctionToolCall] = completion.choices[0].message.tool_calls
    return calls


def test_a_tool_is_called_and_its_result_is_answered_with_words(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(
        model="solar-pro4",
        messages=[{"role": "user", "content": "서울 날씨?"}],
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "weather"}},
    )
    [call] = calls_of(first)
    assert (first.choices[0].finish_reason, call.function.name) == ("tool_calls", "weather")
    second = client.chat.completions.create(
        model="solar-pro4",
        messages=[
            {"role": "user", "content": "서울 날씨?"},
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {"name": "weather", "arguments": call.function.arguments},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": call.id, "content": "맑음"},
        ],
        tools=[WEATHER],
    )
    assert second.choices[0].message.content
    assert second.choices[0].message.tool_calls is None


@pytest.mark.parametrize(("parallel", "names"), [(True, ["weather", "clock"]), (False, ["weather"])])
def test_tools_are_called_in_parallel_unless_the_client_says_no(
    client: openai.OpenAI, parallel: bool, names: list[str]
) -> None:
    completion = client.chat.completions.create(
        model="solar-pro4",
        messages=[{"role": "user", "content": "서울의 날씨와 시간?"}],
        tools=[WEATHER, CLOCK],
        tool_choice="required",
        parallel_tool_calls=parallel,
    )
    assert [call.function.name for call in calls_of(completion)] == names


def test_parallel_tool_calls_are_put_together_again_from_a_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="solar-pro4",
        messages=[{"role": "user", "content": "서울의 날씨와 시간?"}],
        tools=[WEATHER, CLOCK],
        tool_choice="required",
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.done" in kinds
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert [call.function.name for call in calls] == ["weather", "clock"]
    assert all(call.function.arguments.startswith("{") for call in calls)


def test_a_strict_schema_comes_back_as_the_clients_own_type(client: openai.OpenAI) -> None:
    completion = client.chat.completions.parse(
        model="solar-pro4", messages=[{"role": "user", "content": "서울은?"}], response_format=City
    )
    assert isinstance(completion.choices[0].message.parsed, City)
    with client.chat.completions.stream(
        model="solar-mini4", messages=[{"role": "user", "content": "서울은?"}], response_format=City
    ) as stream:
        stream.until_done()
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, City)


def test_reasoning_is_text_of_its_own_and_its_tokens_are_part_of_the_output(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model="solar-pro4",
        messages=[{"role": "user", "content": "[[sim: tokens=5 reasoning=7]] 왜?"}],
        reasoning_effort="high",
    )
    message, usage = completion.choices[0].message, completion.usage
    assert message.model_extra is not None
    assert message.model_extra["reasoning"]
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert (usage.completion_tokens, usage.completion_tokens_details.reasoning_tokens) == (12, 7)


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "section 3: seed is not offered": ({"seed": 7}, "Unrecognized request arguments supplied: seed"),
    "section 3: logprobs are not offered": (
        {"logprobs": True, "top_logprobs": 2},
        "Unrecognized request arguments supplied: logprobs, top_logprobs",
    ),
    "section 3: strip unknown OpenAI fields, but logit_bias has a meaning": (
        {"logit_bias": {"1": 5}},
        "Unrecognized request arguments supplied: logit_bias",
    ),
    "section 3: image_url is refused on every Solar chat model": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}],
                }
            ]
        },
        "content of type 'image_url' is not supported",
    ),
    "section 3: json_object needs the word JSON in the conversation": (
        {"response_format": {"type": "json_object"}},
        "must contain the word 'json'",
    ),
    "section 3: a json_schema has strict true": (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"type": "object", "properties": {}}},
            }
        },
        "strict' must be true",
    ),
    "section 2: syn-pro has no function calling": (
        {"model": "syn-pro", "tools": [WEATHER]},
        "does not support tools",
    ),
}


@pytest.mark.parametrize("rule", REFUSALS)
def test_what_solar_does_not_offer_is_refused_in_its_own_words(client: openai.OpenAI, rule: str) -> None:
    fields, words = REFUSALS[rule]
    asked: dict[str, Any] = {"model": "solar-pro4", "messages": [{"role": "user", "content": "안녕?"}], **fields}
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**asked)
    assert refused.value.code == "invalid_request_body"
    assert words in refused.value.message


def test_embeddings_take_no_dimensions_and_at_most_a_hundred_texts(client: openai.OpenAI) -> None:
    """upstage-api.md section 5."""
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        client.embeddings.create(model="solar-embedding-2-query", input="x", dimensions=256)
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="solar-embedding-2-query", input=["x"] * 101)
    with pytest.raises(openai.BadRequestError):  # "input (string or array of strings)": no token ids
        client.embeddings.create(model="solar-embedding-2-query", input=[1, 2, 3])
