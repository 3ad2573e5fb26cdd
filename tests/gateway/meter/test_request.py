"""Requests: what the gateway reads of them, and that the rest goes through byte for byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.meter.endpoint import CHAT, EMBEDDINGS
from gateway.meter.request import bounds_of, read_request
from gateway.meter.sizes import SIZES, UNKNOWN_SIZE

ADDED = b'"stream_options":{"include_usage":true},'


def test_a_whole_request_goes_through_untouched() -> None:
    body = b' {"model":"solar-pro4", "messages": [ ], "x":1.0e5,"max_tokens":5 }\n'
    ask = read_request(CHAT, body)
    assert (ask.model, ask.streamed, ask.usage_wanted, ask.output_tokens_max, ask.answers) == (
        "solar-pro4",
        False,
        False,
        5,
        1,
    )
    assert ask.body is body


values = st.none() | st.integers() | st.text(max_size=9) | st.lists(st.text(max_size=3), max_size=3)


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=8), values, max_size=5))
def test_asking_for_usage_adds_these_bytes_and_changes_no_other(extra: dict[str, object]) -> None:
    fields = {f"x_{name}": value for name, value in extra.items()} | {"model": "m", "stream": True}
    body = b"\n " + json.dumps(fields, ensure_ascii=False).encode()
    ask = read_request(CHAT, body)
    assert ask.body.replace(ADDED, b"", 1) == body
    assert json.loads(ask.body) == fields | {"stream_options": {"include_usage": True}}
    assert (ask.streamed, ask.usage_wanted) == (True, False)


def test_a_client_that_asks_for_usage_itself_sends_its_own_bytes() -> None:
    body = b'{"model":"m","stream":true,"stream_options":{"include_usage":true,"x":1}}'
    ask = read_request(CHAT, body)
    assert ask.usage_wanted
    assert ask.body is body


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (b"null", {"include_usage": True}),
        (b"{}", {"include_usage": True}),
        (b'{"include_usage":false,"other":[1]}', {"include_usage": True, "other": [1]}),
        (b'{"include_usage":null,"other":"x"}', {"include_usage": True, "other": "x"}),
    ],
)
@pytest.mark.parametrize("name", [b"stream_options", b"stream\\u005foptions"])
def test_stream_options_of_the_client_are_kept_and_usage_is_asked_for(
    name: bytes, options: bytes, sent: object
) -> None:
    body = b'{"model":"m","stream":true,"%b":%b,"messages":[{"content":"\\"stream_options\\""}]}' % (name, options)
    ask = read_request(CHAT, body)
    assert not ask.usage_wanted
    pairs = json.loads(ask.body, object_pairs_hook=list)
    assert [name for name, _ in pairs].count("stream_options") == 1
    assert json.loads(ask.body)["stream_options"] == sent
    assert json.loads(ask.body)["messages"] == json.loads(body)["messages"]


def test_the_words_stream_options_inside_a_message_are_no_stream_options() -> None:
    body = b'{"model":"m","stream":true,"messages":[{"stream_options":{"include_usage":false}}]}'
    assert read_request(CHAT, body).body == b"{" + ADDED + body[1:]


def test_of_a_key_that_comes_twice_the_last_one_counts_here_as_in_what_is_sent() -> None:
    ask = read_request(CHAT, b'{"model":"a","stream":false,"model":"b","stream":true,"n":3,"n":1}')
    assert (ask.model, ask.streamed, ask.answers) == ("b", True, 1)
    twice = b'{"model":"m","stream":true,"stream_options":{"include_usage":true},"stream_options":null}'
    ask = read_request(CHAT, twice)
    assert not ask.usage_wanted
    assert json.loads(ask.body)["stream_options"] == {"include_usage": True}
    assert ask.body.count(b"stream_options") == 1


def test_embeddings_are_never_streamed_and_make_no_output() -> None:
    body = b'{"model":"embedding-query","input":"x","stream":true}'
    ask = read_request(EMBEDDINGS, body)
    assert not ask.streamed
    assert ask.body is body
    assert bounds_of(EMBEDDINGS, ask, 100, ask.model).output_tokens_max == 0


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b'{"model":"m"} {}', None),
        (b'\xef\xbb\xbf{"model":"m"}', None),
        (b"[]", None),
        (b'"model"', None),
        (b"null", None),
        (b'{"model":"m","temperature":NaN}', None),
        (b'{"model":"m","temperature":Infinity}', None),
        (b'{"model":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
        (b'{"model":"\xff"}', None),
        (b'{"model":"m\\ud800"}', None),
        (b'{"model":"m","stream":true,"stream_options":null,"\xff":1}', None),
        (b'{"model":"m","user":"x","\xff":1}', None),
        (b'{"model":"m","tools":[{"function":{"strict":true,"name":"\xff"}}]}', None),
        (b'{"model":"m","reasoning_effort":"\xff"}', None),
        (b"{}", "model"),
        (b'{"model":null}', "model"),
        (b'{"model":7}', "model"),
        (b'{"model":"m","stream":"yes"}', "stream"),
        (b'{"model":"m","stream":1}', "stream"),
        (b'{"model":"m","stream_options":true}', "stream_options"),
        (b'{"model":"m","stream_options":{"include_usage":"x"}}', "stream_options.include_usage"),
        (b'{"model":"m","max_tokens":"5"}', "max_tokens"),
        (b'{"model":"m","max_tokens":5.5}', "max_tokens"),
        (b'{"model":"m","max_tokens":-1}', "max_tokens"),
        (b'{"model":"m","max_completion_tokens":-1}', "max_tokens"),
        (b'{"model":"m","n":0}', "n"),
        (b'{"model":"m","n":129}', "n"),
        (b'{"model":"m","n":[1]}', "n"),
    ],
)
def test_a_wrong_request_is_refused_and_the_field_is_named(body: bytes, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as error:
        read_request(CHAT, body)
    assert (error.value.status, error.value.code, error.value.param) == (400, "invalid_request_body", param)


@pytest.mark.parametrize(
    ("fields", "bound"),
    [
        ("", 131_072),
        (',"max_tokens":10', 10),
        (',"max_tokens":null', 131_072),
        (',"max_tokens":0', 131_072),
        (',"max_tokens":10,"max_completion_tokens":20', 20),
        (',"max_completion_tokens":20,"n":3', 60),
        (',"max_tokens":99999999999999999999999', 131_072),
        (',"n":2', 262_144),
    ],
)
def test_the_output_bound_is_what_the_request_can_at_most_bring(fields: str, bound: int) -> None:
    ask = read_request(CHAT, f'{{"model":"solar-pro4"{fields}}}'.encode())
    assert bounds_of(CHAT, ask, 100, "solar-pro4").output_tokens_max == bound


def test_a_model_that_only_a_rate_card_knows_has_a_bound_too() -> None:
    ask = read_request(CHAT, b'{"model":"solar-next"}')
    assert "solar-next" not in SIZES
    assert bounds_of(CHAT, ask, 100, "solar-next").output_tokens_max == UNKNOWN_SIZE.output_tokens_max
