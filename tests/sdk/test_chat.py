"""Whole answers, over a real socket, by both clients."""

from decimal import Decimal

import pytest

import solar_sdk
from solar_sdk import AsyncSolar, Solar, ToolCall, Usage

from .answers import PRICE_HEADERS, SNAPSHOT, completion
from .conftest import KEY
from .true_server import CALL_ID, TrueServer, whole


def test_a_reply_is_its_text_with_tokens_cost_and_call_id_beside_it(server: TrueServer, client: Solar) -> None:
    server.play(whole(completion(), headers=PRICE_HEADERS))
    reply = client.chat("안녕?")
    assert str(reply) == reply.text == "안녕하세요!"
    assert reply.usage == Usage(input_tokens=20, cached_input_tokens=10, output_tokens=12, reasoning_tokens=5)
    assert (reply.cost, reply.currency, reply.call_id) == (Decimal("0.00012345"), "USD", CALL_ID)
    assert (reply.model, reply.finish_reason, reply.tool_calls) == (SNAPSHOT, "stop", ())
    assert reply.raw == completion()


def test_a_request_carries_the_key_the_model_and_only_what_was_given(server: TrueServer, client: Solar) -> None:
    server.play(whole(completion()))
    client.chat("안녕?")
    request = server.requests[0]
    assert (request.method, request.target) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["user-agent"].startswith("solar-sdk/")
    assert request.json() == {
        "model": "solar-pro4",
        "messages": [{"role": "user", "content": "안녕?"}],
        "stream": False,
    }


def test_every_option_reaches_the_body(server: TrueServer, client: Solar) -> None:
    server.play(whole(completion()))
    messages = [{"role": "system", "content": "짧게"}, {"role": "user", "content": "?"}]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    client.chat(
        messages=messages,
        model="solar-mini4",
        tools=tools,
        response_format={"type": "json_object"},
        max_tokens=7,
        temperature=0.5,
        reasoning_effort="high",
        extra={"top_p": 0.9},
    )
    assert server.requests[0].json() == {
        "model": "solar-mini4",
        "messages": messages,
        "tools": tools,
        "response_format": {"type": "json_object"},
        "max_tokens": 7,
        "temperature": 0.5,
        "reasoning_effort": "high",
        "top_p": 0.9,
        "stream": False,
    }


def test_an_empty_list_of_tools_is_left_out_because_solar_refuses_it(server: TrueServer, client: Solar) -> None:
    server.play(whole(completion()))
    client.chat("?", tools=[])
    assert "tools" not in server.requests[0].json()


def test_tool_calls_come_typed_and_a_null_content_is_empty_text(server: TrueServer, client: Solar) -> None:
    calls = [{"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"서울"}'}}]
    server.play(whole(completion(None, tool_calls=calls, reasoning="음")))
    reply = client.chat("날씨?")
    assert reply.text == ""
    assert reply.reasoning == "음"
    assert reply.tool_calls == (ToolCall("t1", "weather", '{"city":"서울"}'),)


def test_an_answer_without_price_or_details_has_none_and_still_counts(server: TrueServer, client: Solar) -> None:
    server.play(whole({**completion(), "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}))
    reply = client.chat("?")
    assert reply.usage == Usage(3, 0, 4, 0)
    assert (reply.cost, reply.currency) == (None, None)


async def test_the_async_client_answers_the_same(server: TrueServer, async_client: AsyncSolar) -> None:
    server.play(whole(completion(), headers=PRICE_HEADERS))
    reply = await async_client.chat("안녕?")
    assert (str(reply), reply.cost, reply.call_id) == ("안녕하세요!", Decimal("0.00012345"), CALL_ID)


def test_embeddings_come_in_the_order_of_the_texts(server: TrueServer, client: Solar) -> None:
    rows = [{"index": 1, "embedding": [3, 4.5]}, {"index": 0, "embedding": [1.0, 2.0]}]
    body = {"object": "list", "data": rows, "model": "m", "usage": {"prompt_tokens": 6, "total_tokens": 6}}
    server.play(whole(body, headers=PRICE_HEADERS))
    answer = client.embed(["가", "나"])
    assert answer.vectors == ((1.0, 2.0), (3.0, 4.5))
    assert (answer.usage, answer.cost, len(answer)) == (Usage(6, 0, 0, 0), Decimal("0.00012345"), 2)
    assert server.requests[0].json() == {"model": "solar-embedding-2-passage", "input": ["가", "나"]}


@pytest.mark.parametrize("arguments", [{}, {"prompt": "?", "messages": []}])
def test_a_chat_needs_either_a_text_or_messages(client: Solar, arguments: dict[str, str]) -> None:
    with pytest.raises(solar_sdk.InvalidRequestError, match="either a text or messages"):
        client.chat(**arguments)  # type: ignore[call-overload]


def test_what_is_not_json_is_refused_before_it_is_sent(server: TrueServer, client: Solar) -> None:
    with pytest.raises(solar_sdk.InvalidRequestError, match="cannot be written as JSON"):
        client.chat("?", extra={"top_p": object()})
    assert server.requests == []
