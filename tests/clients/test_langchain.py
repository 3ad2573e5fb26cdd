"""`langchain-openai` and `langchain-upstage`: chat, stream, tools, embeddings. They are given a base URL and a key, and nothing else."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_upstage import ChatUpstage, UpstageEmbeddings
from pydantic import BaseModel, SecretStr

from tests.running import Gateway

ASK = "[[sim: tokens=6 cached=4]] 안녕?"


class City(BaseModel):
    """A city."""

    name: str
    people: int


@pytest.fixture(params=["openai", "upstage"])
def chat(request: pytest.FixtureRequest, gateway: Gateway) -> BaseChatModel:
    """The openai integration speaks to /v1, Upstage's own to /v1/solar, which it has as its default."""
    secret = SecretStr(gateway.new_key())
    if request.param == "openai":
        return ChatOpenAI(model="solar-pro4", api_key=secret, base_url=f"{gateway.url}/v1", max_retries=0)
    return ChatUpstage(model="solar-pro4", api_key=secret, base_url=f"{gateway.url}/v1/solar", max_retries=0)


def test_it_chats_and_knows_what_was_used(chat: BaseChatModel) -> None:
    message = chat.invoke(ASK)
    assert message.content
    usage = message.usage_metadata
    assert usage is not None
    assert (usage["output_tokens"], usage["input_token_details"]["cache_read"]) == (6, 4)


def test_it_streams_the_same_text_and_sees_usage_where_it_asks_for_it(chat: BaseChatModel) -> None:
    pieces = list(chat.stream(ASK))
    assert len(pieces) >= 6
    assert "".join(str(piece.content) for piece in pieces) == chat.invoke(ASK).content
    assert not any(isinstance(piece, AIMessageChunk) and piece.usage_metadata for piece in pieces)
    counted = [piece for piece in chat.stream(ASK, stream_usage=True) if isinstance(piece, AIMessageChunk)]
    assert [piece.usage_metadata["output_tokens"] for piece in counted if piece.usage_metadata] == [6]


async def test_it_chats_and_streams_on_an_event_loop(chat: BaseChatModel) -> None:
    whole = await chat.ainvoke(ASK)
    streamed = "".join([str(piece.content) async for piece in chat.astream(ASK)])
    assert streamed == whole.content


def test_it_calls_a_tool_and_fills_a_schema(chat: BaseChatModel) -> None:
    message: Any = chat.bind_tools([City], tool_choice="any").invoke("서울은?")
    assert [call["name"] for call in message.tool_calls] == ["City"]
    assert isinstance(chat.with_structured_output(City, method="json_schema").invoke("서울은?"), City)


def test_upstages_integration_embeds_with_the_model_of_its_choice(gateway: Gateway) -> None:
    """It adds -query or -passage to the model's name by itself."""
    vectors = UpstageEmbeddings(
        model="solar-embedding-2", api_key=SecretStr(gateway.new_key()), base_url=f"{gateway.url}/v1/solar"
    )
    assert len(vectors.embed_query("안녕")) == 1024
    assert [len(row) for row in vectors.embed_documents(["안녕", "세상"])] == [1024, 1024]


def test_the_openai_integration_embeds_texts_but_no_token_ids(gateway: Gateway) -> None:
    """upstage-api.md section 5: input is a string or an array of strings. Its own check of lengths would send token ids."""
    settings: Any = {
        "model": "solar-embedding-2-passage",
        "api_key": SecretStr(gateway.new_key()),
        "base_url": f"{gateway.url}/v1",
        "max_retries": 0,
    }
    texts = OpenAIEmbeddings(**settings, check_embedding_ctx_length=False)
    assert [len(row) for row in texts.embed_documents(["안녕", "세상"])] == [1024, 1024]
    with pytest.raises(openai.BadRequestError):
        texts.client.create(model="solar-embedding-2-passage", input=[[1, 2], [3]])
