"""Structured output: a type goes out as Solar's JSON schema, a value of it comes back, or a clear error."""

import enum
import json
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solar_sdk import AsyncSolar, ConfigurationError, MalformedAnswerError, Solar
from solar_sdk.core.shapes import from_wire_text, to_wire_response_format

from .answers import completion
from .true_server import TrueServer, whole


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True)
class Author:
    name: str
    born: int | None


@dataclass(frozen=True)
class Book:
    title: str
    authors: list[Author]
    price: float
    mood: Mood
    kind: Literal["novel", "poems"]
    tags: tuple[str, ...] = ()


class StructAuthor(msgspec.Struct):
    name: str


class StructBook(msgspec.Struct):
    title: str
    authors: list[StructAuthor]


class ModelAuthor(pydantic.BaseModel):
    name: str


class ModelBook(pydantic.BaseModel):
    title: str
    authors: list[ModelAuthor]


TEXT = json.dumps({"title": "소년이 온다", "authors": [{"name": "한강"}]}, ensure_ascii=False)


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every object of a schema."""
    if isinstance(schema, list):
        return [found for part in schema for found in objects(part)]
    if not isinstance(schema, dict):
        return []
    here = [schema] if schema.get("type") == "object" else []
    return here + [found for part in schema.values() for found in objects(part)]


@pytest.mark.parametrize("into", [Book, StructBook, ModelBook])
def test_every_object_of_a_schema_keeps_solars_rules(into: type) -> None:
    asked = to_wire_response_format(into)
    assert asked["json_schema"]["strict"] is True
    found = objects(asked["json_schema"]["schema"])
    assert len(found) == 2
    for each in found:
        assert each["required"] == list(each["properties"])
        assert each["additionalProperties"] is False


def test_a_dataclass_is_told_in_json_schemas_words() -> None:
    schema = to_wire_response_format(Book)["json_schema"]["schema"]["properties"]
    assert schema["price"] == {"type": "number"}
    assert schema["mood"] == {"enum": ["good", "bad"]}
    assert schema["kind"] == {"enum": ["novel", "poems"]}
    assert schema["tags"] == {"type": "array", "items": {"type": "string"}}
    assert schema["authors"]["items"]["properties"]["born"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}


def test_parse_gives_a_value_of_the_type_and_the_reply_beside_it(server: TrueServer, client: Solar) -> None:
    for into in (StructBook, ModelBook):
        server.play(whole(completion(TEXT)))
        answer = client.parse("한강의 책?", into)
        assert isinstance(answer.value, into)
        assert answer.value.title == "소년이 온다"
        assert answer.reply.usage is not None
    assert server.requests[0].json()["response_format"]["json_schema"]["name"] == "StructBook"


async def test_the_async_client_parses_too(server: TrueServer, async_client: AsyncSolar) -> None:
    server.play(whole(completion('{"name":"한강","born":1970}')))
    assert (await async_client.parse("?", Author)).value == Author("한강", 1970)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"name":"한강"}', '{"name":1,"born":null}', '{"name":"a","born":"x"}', "null"]
)
def test_a_text_that_is_not_of_the_type_is_a_clear_error(server: TrueServer, client: Solar, text: str) -> None:
    server.play(whole(completion(text)))
    with pytest.raises(MalformedAnswerError, match="Author") as caught:
        client.parse("?", Author)
    assert caught.value.code == "malformed_output"
    assert caught.value.call_id is not None


@dataclass
class Recursive:
    below: "Recursive | None"


@pytest.mark.parametrize("into", [int, dict, Recursive, list[int]])
def test_a_type_that_cannot_be_asked_for_is_refused_before_anything_is_sent(
    server: TrueServer, client: Solar, into: Any
) -> None:
    with pytest.raises(ConfigurationError):
        client.parse("?", into)
    assert server.requests == []


@given(
    st.builds(
        Book,
        title=st.text(),
        authors=st.lists(st.builds(Author, name=st.text(), born=st.none() | st.integers())),
        price=st.floats(allow_nan=False, allow_infinity=False),
        mood=st.sampled_from(Mood),
        kind=st.sampled_from(("novel", "poems")),
        tags=st.lists(st.text()).map(tuple),
    )
)
def test_what_is_written_by_the_schema_is_read_back_as_the_same_value(book: Book) -> None:
    written = {
        "title": book.title,
        "authors": [{"name": author.name, "born": author.born} for author in book.authors],
        "price": book.price,
        "mood": book.mood.value,
        "kind": book.kind,
        "tags": list(book.tags),
    }
    assert from_wire_text(json.dumps(written), Book) == book
