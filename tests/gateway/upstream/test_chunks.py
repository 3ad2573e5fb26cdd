"""A chunk that is taken straight from a read is the chunk that the parser would have taken."""

from __future__ import annotations

from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.answer import Answer
from gateway.upstream.stream import EventSplitter

_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"


def _answer(*, coding: bytes = _HEAD) -> Answer:
    answer = Answer(head_only=False, head_max_bytes=65536)
    answer.feed(coding)
    return answer


def _chunk(data: bytes, *, upper: bool = False, extension: bytes = b"") -> bytes:
    size = b"%X" % len(data) if upper else b"%x" % len(data)
    return size + extension + b"\r\n" + data + b"\r\n"


def _read(answer: Answer, reads: list[bytes]) -> bytes:
    """As a connection reads: straight where that can be, through the parser where not."""
    body = b""
    for data in reads:
        piece = answer.whole_chunk(data)
        if piece is None:
            answer.feed(data)
            piece = answer.take()
        body += piece
    return body


pieces = st.lists(
    st.builds(
        _chunk,
        st.one_of(st.binary(min_size=1, max_size=40), st.sampled_from([b"\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n"])),
        upper=st.booleans(),
        extension=st.sampled_from([b"", b";a=b"]),
    ),
    max_size=8,
)


@given(pieces, st.lists(st.integers(0, 400), max_size=8))
def test_however_a_stream_is_cut_into_reads_its_body_is_the_same(chunks: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(chunks) + _END
    places = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    reads = [wire[start:end] for start, end in pairwise(places)]
    plain, answer = _answer(), _answer()
    for data in reads:
        plain.feed(data)
    assert (_read(answer, reads), answer.complete, answer.reusable) == (plain.take(), plain.complete, plain.reusable)
    assert answer.complete


@given(pieces)
def test_each_chunk_that_comes_alone_and_without_extensions_is_taken_straight(chunks: list[bytes]) -> None:
    answer = _answer()
    for chunk in chunks:
        taken = answer.whole_chunk(chunk)
        if b";" in chunk.partition(b"\r\n")[0]:
            assert taken is None
            answer.feed(chunk)
            answer.take()
        else:
            assert taken == chunk.partition(b"\r\n")[2][:-2]
    answer.feed(_END)
    assert answer.complete
    assert answer.reusable


@pytest.mark.parametrize(
    "data",
    [
        _END,
        b"-1\r\nx\r\n",
        b"+1\r\nx\r\n",
        b"0x1\r\nx\r\n",
        b" 1\r\nx\r\n",
        b"1 \r\nx\r\n",
        b"1_0\r\n0123456789abcdef\r\n",
        b"2\r\nx\r\n",
        b"1\r\nxy\r\n",
        b"1\r\nx",
        b"1\nx\r\n",
        b"1\r\nx\r\n1\r\ny\r\n",
        b"FFFFFFFFF\r\nx\r\n",
        b"",
    ],
)
def test_what_is_not_one_plain_chunk_is_left_to_the_parser(data: bytes) -> None:
    assert _answer().whole_chunk(data) is None


def test_a_body_without_chunks_has_none() -> None:
    counted = _answer(coding=b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n")
    assert counted.whole_chunk(b"1\r\nx\r\n") is None
    assert Answer(head_only=False, head_max_bytes=65536).whole_chunk(b"1\r\nx\r\n") is None


def test_inside_a_chunk_nothing_is_taken_for_another() -> None:
    answer = _answer()
    answer.feed(b"c\r\nabcde")
    assert answer.whole_chunk(b"1\r\nx\r\n") is None
    answer.feed(b"1\r\nx\r\nz\r\n")
    assert answer.take() == b"abcde1\r\nx\r\nz"


def test_a_size_that_stands_alone_does_not_count_as_the_end_of_a_chunk() -> None:
    answer = _answer()
    answer.feed(b"1\r\nx\r\n6\r\n")
    assert answer.whole_chunk(b"1\r\nx\r\n") is None
    answer.feed(b"1\r\nx\r\n\r\n")
    assert answer.take() == b"x1\r\nx\r\n"


def test_small_silent_reads_between_chunks_do_not_add_up() -> None:
    answer = Answer(head_only=False, head_max_bytes=200)
    answer.feed(_HEAD)
    for _ in range(300):
        answer.feed(b"1\r\nx")
        answer.feed(b"\r\n")
        assert answer.whole_chunk(_chunk(b"y")) == b"y"
    answer.take()
    with pytest.raises(httpx.RemoteProtocolError):
        answer.feed(b"1;" + b"a" * 300)


@given(
    st.sampled_from(
        [b"data: x\n\n", b"data: x\n\ndata: y\n\n", b"data: x\r\n\r\n", b"x\n\n\n", b"x\n", b"\n\n", b": \xec\n\n"]
    ),
    st.binary(max_size=20),
    st.sampled_from(
        [b"%x\r\n%b\r\n", b"%X\r\n%b\r\n", b"0%x\r\n%b\r\n", b"%x;a=b\r\n%b\r\n", b"%x\r\n%b\r\n0\r\n\r\n"]
    ),
    st.sampled_from([0, 0, 0, 1, -1]),
)
def test_a_chunk_that_goes_on_with_its_frame_is_one_that_both_the_parser_and_the_splitter_take_whole(
    events: bytes, before: bytes, form: bytes, wrong_by: int
) -> None:
    body, splitter = before + events, EventSplitter(1 << 20)
    data = form % (len(body) + wrong_by, body)
    if splitter.is_plain_chunk(data):
        assert _answer().whole_chunk(data) == body
        assert splitter.is_whole(body)
    elif splitter.is_whole(body):
        assert wrong_by or form not in (b"%x\r\n%b\r\n", b"%X\r\n%b\r\n") or body.startswith(b"\n\n")
