"""The simulator's pure parts: counting tokens, reading directives, drawing values for schemas, one answer in two forms."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sandbox.solar.call import Inbound
from gateway.sandbox.solar.directives import Steer, parse_directive
from gateway.sandbox.solar.mind.draft import _ENGLISH, _KOREAN
from gateway.sandbox.solar.mind.schemas import check_strict_schema
from gateway.sandbox.solar.mind.tokens import count, split
from gateway.sandbox.solar.refusals import Refusal
from gateway.sandbox.solar.server import WireFormat
from gateway.sandbox.solar.wire.chat import answer_chat
from gateway.sandbox.solar.wire.embeddings import answer_embeddings
from gateway.sandbox.solar.wire.extraction import answer_extraction
from gateway.sandbox.solar.wire.messages import answer_messages
from gateway.sandbox.solar.wire.responses import answer_responses
from gateway.sandbox.solar.wire.systemone import answer_systemone

TEXTS = st.text(max_size=40) | st.text(max_size=40, alphabet="안녕하세요 hello 123\n\t{}\"'🙂漢字é")


@given(TEXTS)
def test_a_text_never_has_more_tokens_than_utf8_bytes_and_its_tokens_join_to_it(text: str) -> None:
    assert "".join(split(text)) == text
    assert count(text) == len(split(text)) <= len(text.encode())


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("hi", 1),
        ("hello", 2),
        ("the cost", 2),
        ("안녕", 1),
        ("안녕하세요", 3),
        ("2026", 2),
        ("漢字", 2),
        ("a\n\nb", 3),
    ],
)
def test_the_counting_rule_is_fixed(text: str, tokens: int) -> None:
    assert count(text) == tokens


def test_every_word_the_simulator_speaks_is_one_token() -> None:
    for vocabulary in (_KOREAN, _ENGLISH):
        assert len(vocabulary) == 32
        assert split(" ".join(vocabulary)) == [vocabulary[0], *(" " + word for word in vocabulary[1:])]


def test_a_directive_is_read_out_of_the_text_and_the_header_overrules_it() -> None:
    text = "말해 줘 [[sim: delay_ms=200 tokens=40 error=429:too_many_requests stall_after=5:2000 id=abc123]] 고마워"
    told = Steer(
        id="abc123",
        delay_ms=200,
        tokens=40,
        error_status=429,
        error_code="too_many_requests",
        stall_after=5,
        stall_ms=2000,
    )
    assert parse_directive(text) == told
    assert parse_directive(text, "tokens=3 id=z").tokens == 3
    assert parse_directive("nothing here") == Steer()


@pytest.mark.parametrize(
    "words",
    [
        *("delay=1", "delay_ms=-1", "delay_ms=120001", "delay_ms=1.5", "pace_ms=", "error=200", "error=429:Not A Code"),
        *(
            "stall_after=5",
            "stall_after=5:120001",
            "usage_on=never",
            "id=a/b",
            "no_usage=2",
            "tokens=131073",
            "tokens=²",
        ),
    ],
)
def test_a_directive_out_of_bounds_or_misspelt_is_refused(words: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse_directive(f"[[sim: {words}]]")
    assert refused.value.status == 400


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _nested(levels: int) -> dict[str, Any]:
    return _object(a={"type": "string"} if levels == 1 else _nested(levels - 1))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        {**_object(a={"type": "string"}), "required": []},
        _object(a={"oneOf": [{"type": "string"}]}),
        _object(a={"type": "object", "properties": {}}),
        _object(a={"$ref": "https://example.com/a"}),
        _object(a={"$ref": "#/$defs/missing"}),
        {**_object(a={"$ref": "#/$defs/n"}), "$defs": {"n": _object(b={"$ref": "#/$defs/n"})}},
        _nested(11),
    ],
)
def test_a_schema_that_solar_does_not_take_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(Refusal):
        check_strict_schema(schema)


def _ask(**fields: Any) -> Inbound:
    return Inbound(body=json.dumps({"model": "solar-pro4", **fields}).encode())


@given(
    text=st.text(max_size=60),
    effort=st.sampled_from([None, "none", "high"]),
    limit=st.none() | st.integers(1, 60),
    tool_choice=st.sampled_from(["auto", "required"]),
    model=st.sampled_from(["solar-pro4", "solar-mini4"]),
    key=st.none() | st.just("session"),
)
def test_a_stream_says_what_the_whole_answer_says_at_the_same_usage(
    text: str, effort: str | None, limit: int | None, tool_choice: str, model: str, key: str | None
) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": _object(city={"type": "string"})}}
    fields: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "reasoning_effort": effort,
        "max_tokens": limit,
        "tools": [tool],
        "tool_choice": tool_choice,
        "prompt_cache_key": key,
    }
    whole = json.loads(answer_chat(_ask(**fields)).whole)
    streamed = answer_chat(_ask(**fields, stream=True, stream_options={"include_usage": True}))
    events = list(streamed.events or ())
    chunks = [json.loads(event.data.removeprefix(b"data: ")) for event in events[:-1]]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    message = whole["choices"][0]["message"]
    assert "".join(delta.get("content") or "" for delta in deltas) == (message["content"] or "")
    assert "".join(delta.get("reasoning", "") for delta in deltas) == message.get("reasoning", "")
    arguments = [call["function"]["arguments"] for delta in deltas for call in delta.get("tool_calls", ())]
    calls = message.get("tool_calls", ())
    assert "".join(arguments) == "".join(call["function"]["arguments"] for call in calls)
    assert chunks[-1]["usage"] == whole["usage"]
    assert chunks[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    usage = whole["usage"]
    assert sum(event.tokens for event in events) == usage["completion_tokens"] == streamed.usage.completion
    assert usage["completion_tokens"] <= (limit or 10_000)
    assert usage["prompt_tokens"] <= len(_ask(**fields).body)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.sampled_from(["auto", "text", "", "#/$defs/a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "name", "function", "properties", "items", "$ref"]), inner
        )
    ),
    max_leaves=8,
)
TOOLS = [{"type": "function", "name": "a", "function": {"name": "a", "parameters": _object(b={"type": "string"})}}]
QUESTIONS = {"q": {"type": "choice", "instructions": "i", "criteria": {"a": "b", "c": "d"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": _object(a={"type": "string"})}}
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,;base64,AAAA"}}]}]
HELLO = {"model": "solar-pro4", "messages": [{"role": "user", "content": "use the tool"}], "max_tokens": 50}
VALID: list[tuple[WireFormat, dict[str, Any]]] = [
    (answer_chat, {**HELLO, "tools": TOOLS, "tool_choice": "required", "response_format": FORMAT, "stop": "x", "n": 1}),
    (
        answer_messages,
        {**HELLO, "system": "s", "tools": [{"name": "a", "input_schema": {}}], "thinking": {"type": "enabled"}},
    ),
    (
        answer_responses,
        {"model": "solar-pro4", "input": "hi", "tools": TOOLS, "text": {"format": {"type": "text"}}, "reasoning": {}},
    ),
    (answer_embeddings, {"model": "embedding-query", "input": ["hi"], "encoding_format": "float"}),
    (answer_systemone, {"model": "solar-decide", "state": "s", "questions": QUESTIONS}),
    (answer_extraction, {"model": "information-extract", "messages": IMAGE, "response_format": FORMAT}),
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to every value inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))]


@settings(max_examples=200)
@given(st.data())
def test_a_request_with_one_wrong_value_is_answered_or_refused_and_nothing_else(data: st.DataObject) -> None:
    answer, valid = data.draw(st.sampled_from(VALID))
    answer(Inbound(body=json.dumps(valid).encode()))
    broken = json.loads(json.dumps(valid))
    *way, last = data.draw(st.sampled_from([place for place in _places(broken) if place]))
    spot = broken
    for key in way:
        spot = spot[key]
    spot[last] = data.draw(JSON)
    with contextlib.suppress(Refusal):
        for _ in answer(Inbound(body=json.dumps(broken).encode())).events or ():
            pass


def test_the_longest_prompt_leaves_no_room_and_names_the_window() -> None:
    with pytest.raises(Refusal, match="32768 tokens"):
        answer_chat(_ask(model="solar-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=32_768))
