"""openai's shape on our client: code written for openai runs with one import changed."""

import json

import pytest

from solar_sdk import AsyncSolar, ChatCompletion, Solar, StreamInterruptedError, meter
from solar_sdk import Solar as OpenAI

from .answers import DONE, PRICE_HEADERS, SNAPSHOT, START, TALE, USAGE_EVENT, completion, delta
from .conftest import KEY
from .true_server import CALL_ID, TrueServer, stream, whole

TOOL_CALL = {"id": "t-1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"서울"}'}}


def test_code_written_for_openai_runs_with_one_import_changed(server: TrueServer) -> None:
    server.play(whole(completion(), headers=PRICE_HEADERS), stream(TALE))
    client = OpenAI(api_key=KEY, base_url=server.base_url)
    messages = [{"role": "user", "content": "안녕?"}]
    answer = client.chat.completions.create(model="solar-pro4", messages=messages, temperature=0.2, timeout=20)
    assert answer.choices[0].message.content == "안녕하세요!"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (30, 12, 42)
    pieces = []
    for chunk in client.chat.completions.create(model="solar-pro4", messages=messages, stream=True):
        if chunk.choices[0].delta.content:
            pieces.append(chunk.choices[0].delta.content)
    assert "".join(pieces) == "안녕하세요"
    assert server.requests[0].json() == {"model": "solar-pro4", "messages": messages, "temperature": 0.2}
    client.close()


def test_cost_and_call_id_stand_beside_openais_fields(server: TrueServer, client: Solar) -> None:
    server.play(whole(completion(), headers=PRICE_HEADERS))
    answer = client.chat.completions.create(messages=[{"role": "user", "content": "?"}])
    assert isinstance(answer, ChatCompletion)
    assert (str(answer.cost), answer.currency, answer.call_id) == ("0.00012345", "USD", CALL_ID)
    assert answer.model_dump() == completion()
    assert json.loads(answer.model_dump_json()) == completion()


def test_an_answers_message_goes_back_into_the_conversation_as_it_came(server: TrueServer, client: Solar) -> None:
    server.play(whole(completion(None, tool_calls=[TOOL_CALL])), whole(completion()))
    messages: list[object] = [{"role": "user", "content": "날씨?"}]
    answer = client.chat.completions.create(messages=messages)
    message = answer.choices[0].message
    assert message.tool_calls is not None
    assert (message.tool_calls[0].function.name, message.tool_calls[0].function.arguments) == (
        "weather",
        '{"city":"서울"}',
    )
    messages += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "맑음"}]
    client.chat.completions.create(messages=messages)
    assert server.requests[1].json()["messages"][1] == {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]}


@pytest.mark.parametrize(("asked", "chunks"), [(None, 4), ({"include_usage": True}, 5)])
def test_a_usage_event_is_shown_only_where_it_was_asked_for_and_is_metered_always(
    server: TrueServer, client: Solar, asked: dict[str, bool] | None, chunks: int
) -> None:
    server.play(stream(TALE))
    with meter() as counted:
        seen = list(
            client.chat.completions.create(
                messages=[{"role": "user", "content": "?"}], stream=True, stream_options=asked
            )
        )
    assert len(seen) == chunks
    assert counted.output_tokens == 12
    assert server.requests[0].json()["stream_options"] == {"include_usage": True}


def test_tool_calls_of_a_stream_come_in_pieces_and_add_up(server: TrueServer, client: Solar) -> None:
    first = {"index": 0, "id": "t-1", "type": "function", "function": {"name": "weather", "arguments": '{"ci'}}
    rest = {"index": 0, "function": {"name": "", "arguments": 'ty":"서울"}'}}
    server.play(stream((START, delta(tool_calls=[first]), delta("tool_calls", tool_calls=[rest]), USAGE_EVENT, DONE)))
    with client.chat.completions.create(messages=[{"role": "user", "content": "?"}], stream=True) as chunks:
        calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert [call.function.arguments for call in calls] == ['{"ci', 'ty":"서울"}']
    assert [(call.name, call.arguments) for call in chunks.reply.tool_calls] == [("weather", '{"city":"서울"}')]


def test_a_stream_that_was_cut_says_so_after_its_chunks(server: TrueServer, client: Solar) -> None:
    server.play(stream((START, delta(content="안")), b"0\r\n\r\n"))
    chunks = iter(client.chat.completions.create(messages=[{"role": "user", "content": "?"}], stream=True))
    assert [next(chunks).choices[0].delta.content for _ in range(2)] == ["", "안"]
    with pytest.raises(StreamInterruptedError):
        next(chunks)


async def test_the_async_client_has_the_same_shape(server: TrueServer, async_client: AsyncSolar) -> None:
    server.play(whole(completion(), headers=PRICE_HEADERS), stream(TALE))
    messages = [{"role": "user", "content": "?"}]
    answer = await async_client.chat.completions.create(messages=messages)
    assert (answer.model, answer.choices[0].message.role) == (SNAPSHOT, "assistant")
    pieces = []
    async for chunk in await async_client.chat.completions.create(messages=messages, stream=True):
        pieces.append(chunk.choices[0].delta.content)
    assert pieces == ["", "안녕", "하세요", None]


def test_openais_per_call_arguments_steer_the_call_and_stay_out_of_the_body(server: TrueServer, client: Solar) -> None:
    server.play(whole(completion()))
    client.chat.completions.create(
        messages=[{"role": "user", "content": "?"}],
        extra_headers={"x-team": "billing"},
        extra_body={"top_k": 3},
        max_retries=0,
        idempotency_key="order-17",
        timeout=5,
    )
    request = server.requests[0]
    assert set(request.json()) == {"model", "messages", "top_k"}
    assert (request.headers["x-team"], request.headers["idempotency-key"]) == ("billing", "order-17")
    assert request.headers["authorization"] == f"Bearer {KEY}"
