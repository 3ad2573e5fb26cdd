"""A stream's meter in the other two formats, responses and messages: the same bytes however they were cut, the cost in the right place."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.usage import Usage
from gateway.call import Outcome
from gateway.meter.tally import StreamTally
from gateway.meter.wires import MESSAGES_WIRE, RESPONSES_WIRE, Wire
from gateway.upstream.stream import EventSplitter
from tests.gateway.values import a_call, a_caller

CALL = a_call(a_caller("acc_00000001"), prompt_max=400, output_max=50)
COST = Decimal("0.0000123")
MODEL = "solar-pro4-260806"
PRICED = b'{"cost":"0.0000123","currency":"USD",'


def event(kind: str, **fields: object) -> bytes:
    data = json.dumps({"type": kind, **fields}, ensure_ascii=False).encode()
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


PING = b": keep-alive\n\n"
ANTHROPIC_PING = event("ping")
ERROR = event("error", error={"type": "overloaded_error", "message": "x"})

CREATED = event("response.created", response={"id": "r", "model": MODEL, "usage": None})
DELTAS = [event("response.output_text.delta", delta=text) for text in ("솔", '"usage":{ response.completed', "라")]
USED = {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 3}
TOOLS = [{"type": "function", "parameters": {"properties": {"usage": {"type": "object"}}}}]


def terminal(kind: str, **fields: object) -> bytes:
    return event(kind, response={"model": MODEL, "usage": USED, "tools": TOOLS, **fields})


START = event(
    "message_start",
    message={
        "model": MODEL,
        "usage": {
            "input_tokens": 5,
            "cache_read_input_tokens": 4,
            "cache_creation_input_tokens": 0,
            "output_tokens": 1,
        },
    },
)
BLOCKS = [
    event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    *[
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
        for text in ("솔", "message_stop", "라")
    ],
    event("content_block_stop", index=0),
]
DELTA = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3})
STOP = event("message_stop")


def priced(usage_event: bytes) -> bytes:
    """With the cost in the first usage object, which is the format's own here."""
    return usage_event.replace(b'"usage": {', b'"usage": ' + PRICED, 1)


STREAMS: dict[str, tuple[Wire, list[bytes], bytes, list[bytes]]] = {
    "a response": (RESPONSES_WIRE, [CREATED, PING, *DELTAS], terminal("response.completed"), []),
    "a response that was cut by its limit": (RESPONSES_WIRE, [CREATED, *DELTAS], terminal("response.incomplete"), []),
    "a response that failed": (RESPONSES_WIRE, [CREATED], terminal("response.failed", error={"code": "x"}), [PING]),
    "a message": (MESSAGES_WIRE, [START, ANTHROPIC_PING, *BLOCKS], DELTA, [STOP]),
    "a message with a ping before its end": (MESSAGES_WIRE, [START, *BLOCKS], DELTA, [ANTHROPIC_PING, PING, STOP]),
}


def through(wire: Wire, stream: bytes, cuts: Sequence[int]) -> tuple[bytes, Outcome, StreamTally]:
    """A stream, cut at these places, as the journey sends it: (client's bytes before the settlement and after, outcome, tally)."""
    tally, splitter = StreamTally(CALL, wire, usage_wanted=False), EventSplitter(1 << 20)
    edges = [0, *sorted({cut % (len(stream) + 1) for cut in cuts}), len(stream)]
    sent = b""
    for start, end in itertools.pairwise(edges):
        sent += tally.pass_on(splitter.feed(stream[start:end]))
        if tally.ended:
            break
    tally.pass_on_rest(splitter.rest())
    assert b'"cost"' not in sent
    outcome = tally.outcome("upstream broke off", 1)
    return sent + tally.last_words(COST), outcome, tally


@settings(max_examples=80)
@given(st.sampled_from(sorted(STREAMS)), st.booleans(), st.lists(st.integers(0, 4000), max_size=40))
def test_events_go_through_unchanged_but_for_the_cost_in_the_formats_own_usage(
    name: str, crlf: bool, cuts: list[int]
) -> None:
    wire, before, usage, after = STREAMS[name]
    # What follows the end in a packet of its own is not waited for.
    stream, expected = b"".join([*before, usage, *after]), b"".join([*before, priced(usage), *after])
    whole = wire is MESSAGES_WIRE or not after
    if crlf:
        stream, expected = stream.replace(b"\n", b"\r\n"), expected.replace(b"\n", b"\r\n")
    for pieces in (cuts, [], range(len(stream))):
        sent, outcome, tally = through(wire, stream, pieces)
        assert sent == expected or (not whole and expected.startswith(sent))
        assert outcome == Outcome(Usage(5, 4, 3), MODEL, None, 1)
        assert not tally.broke_off


@pytest.mark.parametrize("name", STREAMS)
def test_nothing_leaves_from_the_usage_event_on_before_the_settlement(name: str) -> None:
    wire, before, usage, after = STREAMS[name]
    tally = StreamTally(CALL, wire, usage_wanted=False)
    assert tally.pass_on([*before, usage, *after]) == b"".join(before)
    assert tally.ended
    assert tally.last_words(COST) == b"".join([priced(usage), *after])


@settings(max_examples=60)
@given(st.integers(0, 2000))
def test_a_message_that_breaks_off_keeps_its_exact_input_and_estimates_its_output(length: int) -> None:
    stream = b"".join([START, *BLOCKS])
    sent, outcome, tally = through(MESSAGES_WIRE, stream[: len(START) + length % (len(stream) - len(START) + 1)], [])
    assert tally.broke_off
    assert (outcome.usage.input_tokens, outcome.usage.cached_input_tokens) == (5, 4)
    assert 1 <= outcome.usage.output_tokens <= 3
    assert (outcome.model_answered, outcome.estimated_reason) == (MODEL, "upstream broke off")
    assert stream.startswith(sent.rstrip())


def test_a_response_that_breaks_off_is_estimated_by_what_came() -> None:
    sent, outcome, tally = through(RESPONSES_WIRE, b"".join([CREATED, *DELTAS]), [3, 70])
    assert tally.broke_off
    assert sent == b"".join([CREATED, *DELTAS])
    assert outcome == Outcome(Usage(100, 0, 5), MODEL, "upstream broke off", 1)


@pytest.mark.parametrize(
    ("wire", "events", "used"),
    [(MESSAGES_WIRE, [START, *BLOCKS[:2]], Usage(5, 4, 1)), (RESPONSES_WIRE, [CREATED, DELTAS[0]], Usage(100, 0, 1))],
)
def test_an_error_in_mid_stream_is_withheld_and_what_came_is_charged(
    wire: Wire, events: list[bytes], used: Usage
) -> None:
    sent, outcome, tally = through(wire, b"".join([*events, ERROR, STOP]), [])
    assert tally.broke_off
    assert sent == b"".join(events)
    assert (outcome.usage, outcome.estimated_reason) == (used, "upstream broke off")


def test_usage_that_comes_again_replaces_what_came_before() -> None:
    early = event("message_delta", delta={}, usage={"output_tokens": 1})
    sent, outcome, _ = through(MESSAGES_WIRE, b"".join([START, *BLOCKS[:2], early, *BLOCKS[2:], DELTA, STOP]), [])
    assert sent == b"".join([START, *BLOCKS[:2], early, *BLOCKS[2:], priced(DELTA), STOP])
    assert outcome.usage == Usage(5, 4, 3)


def test_a_delta_that_names_its_input_again_is_believed() -> None:
    last = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"input_tokens": 7, "output_tokens": 3})
    _, outcome, _ = through(MESSAGES_WIRE, b"".join([START, *BLOCKS, last, STOP]), [])
    assert outcome.usage == Usage(7, 4, 3)


@pytest.mark.parametrize("response", [{"usage": None}, {"usage": {}}, {"usage": "x"}, {}, None, "x"])
def test_a_response_without_usage_ends_well_and_is_estimated(response: object) -> None:
    end = event("response.completed", response=response)
    sent, outcome, tally = through(RESPONSES_WIRE, b"".join([CREATED, *DELTAS, end]), [])
    assert sent.startswith(b"".join([CREATED, *DELTAS]))
    assert outcome.estimated_reason is not None
    assert outcome.usage.output_tokens >= 3
    assert tally.ended or tally.broke_off


def test_names_that_are_no_text_lose_neither_the_event_nor_its_usage() -> None:
    end = (
        b'data: {"type":"message_delta","\\ud800":1,"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}\n\n'
    )
    sent, outcome, _ = through(MESSAGES_WIRE, b"".join([START, *BLOCKS, end, STOP]), [])
    assert b'"output_tokens":3' in sent
    assert outcome.usage.output_tokens == 3
