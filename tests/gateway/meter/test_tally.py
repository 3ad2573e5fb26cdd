"""A stream's meter: the same bytes and the same counts however the network cuts the stream; two exceptions, and no third."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.usage import Usage
from gateway.call import Outcome
from gateway.meter.tally import StreamTally, outcome_of_whole
from gateway.meter.wires import CHAT_WIRE
from gateway.upstream.stream import EventSplitter
from tests.gateway.values import a_call, a_caller

CALL = a_call(a_caller("acc_00000001"), prompt_max=400, output_max=50)
COST = Decimal("0.0000123")
WITH_COST = b'"usage":{"cost":"0.0000123","currency":"USD","prompt_tokens"'
USED = b'{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}'


def chunk(text: str, *, finish: str = "null", usage: bytes | None = None) -> bytes:
    tail = b"" if usage is None else b',"usage":' + usage
    delta = json.dumps({"content": text}, ensure_ascii=False).encode()
    return b'data: {"model":"solar-pro4-260806","choices":[{"delta":%b,"finish_reason":%b}]%b}\n\n' % (
        delta,
        finish.encode(),
        tail,
    )


HEAD = [chunk("솔"), chunk('"usage":{ data: [DONE]'), chunk("라")]
WORDS = [chunk("a"), chunk("b"), chunk("c")]
FINISH = chunk("", finish='"stop"')
USAGE = b'data: {"model":"solar-pro4-260806","choices":[],"usage":' + USED + b"}\n\n"
DONE = b"data: [DONE]\n\n"
PING = b": keep-alive\n\n"
ERROR = b'data: {"error":{"message":"overloaded ' + b"x" * 900 + b'","code":"server_error"}}\n\n'


def through(stream: bytes, cuts: list[int], *, wanted: bool) -> tuple[bytes, Outcome, StreamTally]:
    """A stream, cut at these places, through splitter and tally as the journey sends it; (client's bytes, outcome, tally)."""
    tally, splitter = StreamTally(CALL, CHAT_WIRE, usage_wanted=wanted), EventSplitter(1 << 20)
    edges = [0, *sorted({cut % (len(stream) + 1) for cut in cuts}), len(stream)]
    sent = b""
    for start, end in itertools.pairwise(edges):
        piece = stream[start:end]
        plain = splitter.is_whole(piece) and tally.lets_through(piece)
        sent += piece if plain else tally.pass_on(splitter.feed(piece))
        if tally.ended:
            break
    tally.pass_on_rest(splitter.rest())
    outcome = tally.outcome("upstream broke off", 1)
    return sent + tally.last_words(COST), outcome, tally


def both_ends(stream: bytes) -> list[list[int]]:
    """In one piece, and byte by byte."""
    return [[], list(range(len(stream)))]


STREAMS = {
    "usage alone at the end": ([*HEAD, FINISH], USAGE, [DONE]),
    "no [DONE]": ([*HEAD, FINISH], USAGE, []),
    "keep-alive everywhere": ([PING, *HEAD, PING, FINISH], USAGE, [PING, DONE]),
    "keep-alive in the same event": ([b": ping\n" + HEAD[0], FINISH], b": ping\n" + USAGE, [DONE]),
    "an event with other lines": ([b"id: 1\nevent: x\n" + HEAD[0], FINISH], b"id: 2\n" + USAGE, [DONE]),
    "an empty line too many": ([HEAD[0] + b"\n", FINISH], USAGE, [b"\n" + DONE]),
}


@settings(max_examples=60)
@given(st.sampled_from(sorted(STREAMS)), st.booleans(), st.booleans(), st.lists(st.integers(0, 4000), max_size=40))
def test_events_go_through_unchanged_but_for_the_cost_and_the_unasked_usage(
    name: str, crlf: bool, wanted: bool, cuts: list[int]
) -> None:
    before, usage, after = STREAMS[name]
    expected_usage = usage.replace(b'"usage":{"prompt_tokens"', WITH_COST) if wanted else b""
    stream, expected = b"".join([*before, usage, *after]), b"".join([*before, expected_usage, *after])
    if crlf:
        stream, expected = stream.replace(b"\n", b"\r\n"), expected.replace(b"\n", b"\r\n")
    for pieces in (cuts, *both_ends(stream)):
        sent, outcome, tally = through(stream, pieces, wanted=wanted)
        assert sent == expected
        assert outcome == Outcome(Usage(9, 0, 2), "solar-pro4-260806", None, 1)
        assert not tally.broke_off


@pytest.mark.parametrize("wanted", [True, False])
def test_usage_on_the_finish_chunk_loses_only_its_key_where_nobody_asked(wanted: bool) -> None:
    stream = b"".join([*HEAD, chunk("", finish='"stop"', usage=USED), DONE])
    for pieces in both_ends(stream):
        sent, outcome, _ = through(stream, pieces, wanted=wanted)
        assert outcome.usage == Usage(9, 0, 2)
        if wanted:
            assert sent == stream.replace(b'"usage":{"prompt_tokens"', WITH_COST)
        else:
            assert sent == b"".join([*HEAD, FINISH, DONE])


@pytest.mark.parametrize("wanted", [True, False])
def test_usage_on_every_chunk_loses_no_chunk_and_the_last_count_stands(wanted: bool) -> None:
    counts = [b'{"prompt_tokens":9,"completion_tokens":%d}' % n for n in range(4)]
    chunks = [chunk(f"word {n}", usage=count) for n, count in enumerate(counts)]
    stream = b"".join([*chunks[:3], PING, chunks[3], DONE])
    for pieces in both_ends(stream):
        sent, outcome, tally = through(stream, pieces, wanted=wanted)
        assert outcome == Outcome(Usage(9, 0, 3), "solar-pro4-260806", None, 1)
        if wanted:
            last = chunks[3].replace(b'"usage":{"prompt_tokens"', WITH_COST)
            assert sent == b"".join([*chunks[:3], PING, last, DONE])
        else:
            assert sent == b"".join([*[chunk(f"word {n}") for n in range(3)], PING, chunk("word 3"), DONE])
        assert not tally.broke_off


def test_a_usage_of_null_is_no_usage_and_passes() -> None:
    stream = b"".join([chunk("a", usage=b"null"), chunk("b", finish='"stop"', usage=b"null"), USAGE, DONE])
    sent, outcome, _ = through(stream, [], wanted=True)
    assert sent == stream.replace(b'"usage":{"prompt_tokens"', WITH_COST)
    assert outcome.usage == Usage(9, 0, 2)


def test_nothing_leaves_from_the_usage_event_on_before_the_settlement() -> None:
    tally = StreamTally(CALL, CHAT_WIRE, usage_wanted=True)
    assert tally.pass_on([HEAD[0], FINISH, USAGE, PING, DONE]) == HEAD[0] + FINISH
    assert tally.ended
    assert tally.last_words(COST) == USAGE.replace(b'"usage":{"prompt_tokens"', WITH_COST) + PING + DONE


@pytest.mark.parametrize("wanted", [True, False])
def test_a_stream_without_usage_is_estimated_and_says_so(wanted: bool) -> None:
    stream = b"".join([*WORDS, FINISH, DONE])
    sent, outcome, tally = through(stream, [7], wanted=wanted)
    assert sent == stream
    assert not tally.broke_off
    assert outcome == Outcome(Usage(100, 0, 3), "solar-pro4-260806", "no usage in the stream", 1)


def test_a_stream_that_stops_without_an_end_broke_off_and_is_charged_for_what_came() -> None:
    sent, outcome, tally = through(b"".join(WORDS), [], wanted=False)
    assert tally.broke_off
    assert sent == b"".join(WORDS)
    assert outcome == Outcome(Usage(100, 0, 3), "solar-pro4-260806", "upstream broke off", 1)


@given(st.integers(1, 600), st.booleans())
def test_a_stream_cut_anywhere_leaves_whole_events_only(length: int, wanted: bool) -> None:
    stream = b"".join([*HEAD, FINISH])
    sent, outcome, tally = through(stream[: min(length, len(stream))], [], wanted=wanted)
    assert sent == b"" or sent.endswith(b"\n\n") or not tally.broke_off
    assert all(
        event.startswith(b"data: {") and event.endswith(b"}")
        for event in map(bytes.strip, sent.split(b"\n\n"))
        if event
    )
    assert outcome.usage.output_tokens <= CALL.output_tokens_max


def test_an_error_in_mid_stream_is_withheld_and_its_text_is_not_output() -> None:
    stream = b"".join([*WORDS, ERROR, chunk("never"), DONE])
    for pieces in both_ends(stream):
        sent, outcome, tally = through(stream, pieces, wanted=True)
        assert sent == b"".join(WORDS)
        assert tally.broke_off
        assert outcome == Outcome(Usage(100, 0, 3), "solar-pro4-260806", "upstream broke off", 1)


def test_an_error_after_the_usage_came_is_charged_by_that_usage() -> None:
    sent, outcome, tally = through(b"".join([*HEAD, USAGE, ERROR]), [], wanted=True)
    assert tally.broke_off
    assert outcome.usage == Usage(9, 0, 2)
    assert sent == b"".join(HEAD) + USAGE.replace(b'"usage":{"prompt_tokens"', WITH_COST)


def test_an_error_of_null_is_no_error() -> None:
    stream = HEAD[0] + b'data: {"error":null,"choices":[],"usage":' + USED + b"}\n\n" + DONE
    _, outcome, tally = through(stream, [], wanted=True)
    assert not tally.broke_off
    assert outcome.usage == Usage(9, 0, 2)


def test_keep_alive_comments_are_no_output() -> None:
    _, outcome, _ = through(PING * 40 + b"".join(WORDS), [], wanted=False)
    assert outcome.usage.output_tokens == 3


def test_an_estimate_never_passes_the_bound_of_the_call() -> None:
    _, outcome, _ = through(b"".join(chunk("x" * 5000) for _ in range(200)), [], wanted=False)
    assert outcome.usage.output_tokens == CALL.output_tokens_max


def test_the_end_without_its_empty_line_still_ends_the_stream() -> None:
    for end in (b"data: [DONE]", b"data: [DONE]\n", b"data:[DONE]"):
        sent, outcome, tally = through(b"".join([*HEAD, FINISH, USAGE, end]), [3], wanted=False)
        assert sent == b"".join([*HEAD, FINISH, end])
        assert not tally.broke_off
        assert outcome.estimated_reason is None


def test_what_follows_the_end_in_the_same_chunk_stays_behind_it() -> None:
    sent, _, _ = through(b"".join([*HEAD, FINISH, DONE, PING]), [], wanted=False)
    assert sent == b"".join([*HEAD, FINISH, DONE, PING])


def test_the_usage_of_an_answer_too_large_to_hold_is_found_in_its_tail() -> None:
    tally = StreamTally(CALL, CHAT_WIRE, usage_wanted=False)
    for piece in (
        b'{"data":[' + b"1," * 70_000,
        b'1],"usage":{"prompt_tokens":9,"prompt_tokens_',
        b'details":{"cached_tokens":4}}}',
    ):
        tally.saw_tail(piece)
    assert tally.outcome_of_tail(2) == Outcome(Usage(5, 4), None, None, 2)
    assert (
        StreamTally(CALL, CHAT_WIRE, usage_wanted=False).outcome_of_tail(1).estimated_reason == "no usage in the answer"
    )
    assert outcome_of_whole(CALL, CHAT_WIRE, b"x" * 80, 1).usage == Usage(100, 0, 10)
