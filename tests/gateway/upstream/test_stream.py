"""Events are split at their boundaries and joined they are what came in, whatever the chunking."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.stream import EventSplitter, EventTooLarge

pieces = st.lists(st.sampled_from([b"data: a", b":", b"\n", b"\r\n", b"\r", b"\n\n", b"x"]), max_size=30).map(b"".join)


def split(chunks: list[bytes]) -> tuple[list[bytes], bytes]:
    splitter = EventSplitter(1 << 20)
    events = [event for chunk in chunks for event in splitter.feed(chunk)]
    return events, splitter.rest()


@given(pieces, st.lists(st.integers(0, 120)))
def test_events_and_rest_join_to_the_input_and_do_not_depend_on_the_chunks(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[start:end] for start, end in itertools.pairwise(edges)]
    events, rest = split(chunks)
    assert b"".join(events) + rest == stream
    assert (events, rest) == split([stream]) == split([stream[at : at + 1] for at in range(len(stream))])


@given(pieces)
def test_every_event_ends_with_the_first_empty_line_in_it(stream: bytes) -> None:
    events, rest = split([stream])
    for event in events:
        boundaries = list(re.finditer(rb"\r?\n\r?\n", event))
        assert boundaries[0].end() == len(event)
    assert not re.search(rb"\r?\n\r?\n", rest)


def test_line_ends_of_all_kinds_end_an_event() -> None:
    for end in (b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\r\n\n"):
        assert split([b"data: 1" + end + b"data: 2"]) == ([b"data: 1" + end], b"data: 2")


def test_an_event_without_end_is_refused_before_it_fills_the_memory() -> None:
    splitter = EventSplitter(1000)
    assert splitter.feed(b"x" * 1000) == []
    with pytest.raises(EventTooLarge):
        splitter.feed(b"x")


def test_many_events_in_one_chunk_may_together_be_larger_than_one_may_be() -> None:
    assert len(EventSplitter(10).feed(b"data: 1\n\n" * 1000)) == 1000
