"""The pure ends of the transport: requests as bytes, answers from bytes, whatever the chunking."""

from __future__ import annotations

from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.answer import Answer, Heads
from gateway.upstream.outgoing import to_wire_request

HEAD_MAX_BYTES = 65_536

bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
tails = st.sampled_from([b"", b"\r\n", b"junk", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", b"0\r\n\r\n"])


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """(an answer with a definite end, its body)."""
    chunks = draw(bodies)
    body = b"".join(chunks)
    interim = b"HTTP/1.1 103 Hint\r\nlink: x\r\n\r\n" * draw(st.integers(0, 2))
    if draw(st.booleans()):
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
        return interim + head + body, body
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n"
    trailer = draw(st.sampled_from([b"", b"x-sum: 1\r\n"]))
    return interim + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + wire + trailer + b"\r\n", body


def fed(pieces: list[bytes]) -> tuple[Answer, bytes]:
    answer, body = Answer(head_only=False, head_max_bytes=HEAD_MAX_BYTES), b""
    for piece in pieces:
        answer.feed(piece)
        body += answer.take() if answer.buffered_bytes else b""
    return answer, body


def cut(data: bytes, at: set[int]) -> list[bytes]:
    places = [0, *sorted(at), len(data)]
    return [data[begin:end] for begin, end in pairwise(places) if begin < end]


@given(answers(), st.sets(st.integers(0, 300)))
def test_any_chunking_brings_the_same_body(wire_and_body: tuple[bytes, bytes], at: set[int]) -> None:
    wire, body = wire_and_body
    for pieces in ([wire], cut(wire, {place % len(wire) for place in at}), [bytes([byte]) for byte in wire]):
        answer, came = fed(pieces)
        assert (answer.status, answer.complete, came) == (200, True, body)


@given(answers(), tails, st.sets(st.integers(0, 300)))
def test_what_follows_an_answer_is_never_part_of_it_and_ends_its_connection(
    wire_and_body: tuple[bytes, bytes], tail: bytes, at: set[int]
) -> None:
    wire, body = wire_and_body
    data = wire + tail
    answer, came = fed(cut(data, {place % len(data) for place in at}))
    assert (answer.status, answer.complete, came) == (200, True, body)
    assert not (tail and answer.reusable)


@given(answers())
def test_no_beginning_of_an_answer_passes_for_the_whole(wire_and_body: tuple[bytes, bytes]) -> None:
    wire, _ = wire_and_body
    for end in range(len(wire)):
        answer, _ = fed([wire[:end]] if end else [])
        assert not answer.complete
        with pytest.raises(httpx.RemoteProtocolError):
            answer.feed_eof()


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]),
)
def test_no_bytes_whatever_bring_down_more_than_their_answer(noise: bytes, start: bytes) -> None:
    answer = Answer(head_only=False, head_max_bytes=100)
    try:
        answer.feed(start + noise)
        answer.feed_eof()
    except httpx.RemoteProtocolError:
        return
    assert answer.complete
    assert not answer.reusable


def test_plain_answers_leave_their_connection_fit_for_another() -> None:
    for wire in (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
    ):
        answer, _ = fed([wire])
        assert answer.reusable


def wire_of(request: httpx.Request) -> bytes:
    return to_wire_request(request).data


def test_a_request_is_one_piece_of_bytes_head_and_body() -> None:
    request = httpx.Request("POST", "http://h:81/a?b=c", headers=[("X-%A", "1")], content=b"body")
    assert wire_of(request) == b"POST /a?b=c HTTP/1.1\r\nHost: h:81\r\nX-%A: 1\r\nContent-Length: 4\r\n\r\nbody"


def test_a_body_without_framing_gets_its_length_and_a_chunked_one_its_chunk() -> None:
    bare = httpx.Request("POST", "http://h/", headers={"host": "h"}, stream=httpx.ByteStream(b"body"))
    assert wire_of(bare) == b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody"
    headers = {"host": "h", "transfer-encoding": "chunked"}
    chunked = httpx.Request("POST", "http://h/", headers=headers, stream=httpx.ByteStream(b"body"))
    assert wire_of(chunked).endswith(b"\r\n\r\n4\r\nbody\r\n0\r\n\r\n")


@given(st.sampled_from(["a\r\nb: c", "a\nb", "a\rb", "a\0b", "\r\n\r\nGET / HTTP/1.1"]), st.booleans())
def test_no_header_can_bring_a_line_of_its_own(evil: str, in_name: bool) -> None:
    headers = [(evil, "x")] if in_name else [("x", evil)]
    with pytest.raises(httpx.LocalProtocolError):
        wire_of(httpx.Request("GET", "http://h/", headers=headers))


@pytest.mark.parametrize(
    "headers",
    [
        [("content-length", "5")],
        [("content-length", "4"), ("content-length", "4")],
        [("content-length", "4"), ("transfer-encoding", "chunked")],
        [("content-length", "four")],
        [("transfer-encoding", "gzip")],
        [("host", "one"), ("host", "two")],
        [("na me", "x")],
        [("", "x")],
    ],
)
def test_a_request_that_could_be_read_in_two_ways_is_not_sent(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        wire_of(httpx.Request("POST", "http://h/", headers=headers, stream=httpx.ByteStream(b"body")))


@pytest.mark.parametrize("method", ["CONNECT", "G ET", "GET\r\n", ""])
def test_a_method_that_is_none_is_not_sent(method: str) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        wire_of(httpx.Request(method, "http://h/"))


def test_a_synchronous_body_is_not_sent() -> None:
    with pytest.raises(httpx.LocalProtocolError):
        wire_of(httpx.Request("POST", "http://h/", content=iter([b"x"])))


@given(answers(), st.binary(max_size=40), tails)
def test_a_known_head_says_what_the_parser_said_and_only_of_an_answer_that_is_all_there(
    wire_and_body: tuple[bytes, bytes], other_body: bytes, tail: bytes
) -> None:
    wire, body = wire_and_body
    heads = Heads()
    assert heads.whole_in(wire) is None  # nothing is known yet
    Answer(head_only=False, head_max_bytes=HEAD_MAX_BYTES, heads=heads).feed(wire)
    interim = b"HTTP/1.1 100 Go\r\n\r\n" + wire
    for data in (wire, wire + tail, wire[:-1], wire.removesuffix(body) + other_body, interim):
        parsed, whole = Answer(head_only=False, head_max_bytes=HEAD_MAX_BYTES), heads.whole_in(data)
        if whole is not None:
            known, known_body = whole
            parsed.feed(data)
            assert (parsed.complete, parsed.status, parsed.headers) == (True, known.status, known.headers)
            assert (parsed.reusable, parsed.take()) == (known.reusable, known_body)
    is_plain = wire.startswith(b"HTTP/1.1 200 OK\r\ncontent-length") and body
    assert (heads.whole_in(wire) is not None) == bool(is_plain)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 400 Bad\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: %b\r\n\r\n" % (b"y" * 66_000),
    ],
)
def test_a_refusal_events_and_a_huge_head_are_parsed_each_time(head: bytes) -> None:
    heads = Heads()
    answer = Answer(head_only=False, head_max_bytes=100_000, heads=heads)
    answer.feed(head + b"{}")
    assert answer.complete
    assert heads.whole_in(head + b"{}") is None
