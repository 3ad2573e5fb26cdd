"""The decoder of server-sent events: the same events, whatever the chunks."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solar_sdk.core.sse import Event, EventDecoder, EventTooLargeError

line = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)
events = st.lists(st.builds(Event, st.lists(line, min_size=1, max_size=3).map("\n".join), line), max_size=5)
line_end = st.sampled_from(["\n", "\r\n", "\r"])


def to_wire(stream: list[Event], end: str, comment: str) -> bytes:
    lines = []
    for event in stream:
        lines += [f":{comment}", f"event: {event.name}", *(f"data: {part}" for part in event.data.split("\n")), "id: 7"]
        lines += ["", ""]
    return "".join(f"{text}{end}" for text in lines).encode()


def decode(chunks: list[bytes]) -> list[Event]:
    decoder = EventDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


@given(events, line_end, line, st.lists(st.integers(0, 400)))
def test_events_are_the_same_wherever_the_bytes_are_cut(
    stream: list[Event], end: str, comment: str, cuts: list[int]
) -> None:
    wire = to_wire(stream, end, comment)
    edges = [0, *sorted(cut for cut in cuts if cut <= len(wire)), len(wire)]
    chunks = [wire[start:stop] for start, stop in pairwise(edges)]
    assert decode(chunks) == stream


@given(events, line_end, line)
def test_events_survive_a_cut_after_every_single_byte(stream: list[Event], end: str, comment: str) -> None:
    wire = to_wire(stream, end, comment)
    assert decode([wire[at : at + 1] for at in range(len(wire))]) == stream


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (b"data:a\n\n", [Event("a")]),
        (b"data:  a\n\n", [Event(" a")]),
        (b"data\n\n", [Event("")]),
        (b"data: a\ndata: b\n\n", [Event("a\nb")]),
        (b"event: only a name\n\ndata: a\n\n", [Event("a")]),
        (b": keep-alive\n\ndata: a\n\n", [Event("a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event("a")]),
        (b"data: without its empty line\n", []),
        (b"data: \xff\n\n", [Event("�")]),
    ],
)
def test_corner_cases_follow_the_standard(wire: bytes, expected: list[Event]) -> None:
    assert decode([wire]) == expected


def test_an_event_without_an_end_is_refused_before_it_fills_the_memory() -> None:
    decoder = EventDecoder(event_bytes_max=1_000)
    for _ in range(1_000):
        decoder.feed(b"x")
    with pytest.raises(EventTooLargeError):
        decoder.feed(b"x")


def test_keep_alive_comments_never_add_up_to_too_large_an_event() -> None:
    decoder = EventDecoder(event_bytes_max=1_000)
    for _ in range(1_000):
        assert decoder.feed(b": keep-alive\n") == []
    assert decoder.feed(b"data: a\n\n") == [Event("a")]
