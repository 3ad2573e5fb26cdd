"""The official `openai` client, pointed at the gateway: only the base URL and the key change."""

from __future__ import annotations

import openai
import pytest

from tests.running import Gateway


@pytest.fixture
def gateway(either_door: Gateway) -> Gateway:
    """Every test here runs over both doors."""
    return either_door


@pytest.fixture
def client(gateway: Gateway) -> openai.OpenAI:
    return openai.OpenAI(api_key=gateway.new_key(), base_url=f"{gateway.url}/v1", max_retries=0)


def test_it_chats_and_sees_the_dated_snapshot(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="solar-pro4", messages=[{"role": "user", "content": "안녕?"}])
    assert completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert completion.model == "solar-pro4-260806"


def test_it_streams_without_seeing_the_usage_that_only_the_gateway_asked_for(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="solar-pro4", messages=[{"role": "user", "content": "하나 둘 셋"}], stream=True
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_it_streams_with_usage_and_finds_the_cost_beside_it(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="solar-pro4",
            messages=[{"role": "user", "content": "하나 둘 셋"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens > 0
    assert usage.model_extra is not None
    assert usage.model_extra["cost"].startswith("0.0")
    assert usage.model_extra["currency"] == "USD"


async def test_the_async_client_chats_and_streams(gateway: Gateway) -> None:
    async with openai.AsyncOpenAI(api_key=gateway.new_key(), base_url=f"{gateway.url}/v1", max_retries=0) as client:
        completion = await client.chat.completions.create(
            model="solar-mini4", messages=[{"role": "user", "content": "안녕?"}]
        )
        stream = await client.chat.completions.create(
            model="solar-mini4", messages=[{"role": "user", "content": "안녕?"}], stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == completion.choices[0].message.content


def test_it_embeds_with_its_base64_default(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="solar-embedding-2-query", input=["안녕", "세상"])
    assert [len(row.embedding) for row in answer.data] == [1024, 1024]
    assert answer.usage.prompt_tokens > 0


def test_it_lists_the_models_that_have_a_price(client: openai.OpenAI) -> None:
    ids = {model.id for model in client.models.list()}
    assert {"solar-pro4", "solar-pro4-260806", "solar-mini4"} <= ids


def test_refusals_come_out_as_its_own_exceptions(gateway: Gateway, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "?"}])
    assert missing.value.code == "model_not_found"
    stranger = openai.OpenAI(api_key="sk-solar-nobody", base_url=f"{gateway.url}/v1", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
