"""A head that is not parsed again says what the parser would say: httptools is the second opinion."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.doors.head import KnownHead, RequestHead
from gateway.meter.endpoint import CHAT

Headers = list[tuple[bytes, bytes]]


class _Parsed:
    """What llhttp makes of some bytes."""

    def __init__(self, data: bytes) -> None:
        self.headers: Headers = []
        self.body = b""
        self.begun = self.complete = 0
        self.keep_alive = False
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.complete = -1

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


def _request(length: bytes, body: bytes, *, more: bytes = b"", name: bytes = b"Content-Length: ") -> bytes:
    first = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer sk-solar-x\r\n"
    return first + name + length + b"\r\naccept: */*\r\n" + more + b"\r\n" + body


def _known(data: bytes, *, keep_alive: bool = True, expects_100: bool = False) -> KnownHead | None:
    parsed = _Parsed(data)
    return KnownHead.of(data, RequestHead(CHAT, parsed.headers, keep_alive=keep_alive, expects_100=expects_100))


KNOWN = _known(_request(b"4", b"{  }"))


@given(st.binary(max_size=40))
def test_another_body_of_the_same_head_is_taken_as_it_is(body: bytes) -> None:
    assert KNOWN is not None
    assert KNOWN.body_in(_request(b"%d" % len(body), body)) == body


@given(
    st.builds(
        _request,
        st.sampled_from(
            [b"4", b"04", b" 4", b"4 ", b"5", b"3", b"-4", b"+4", b"4,4", b"", b"0x4", b"4\r\nx: y", b"\xb2"]
        ),
        st.binary(max_size=6),
        more=st.sampled_from(
            [b"", b"transfer-encoding: chunked\r\n", b"content-length: 4\r\n", b"connection: close\r\n"]
        ),
        name=st.sampled_from([b"Content-Length: ", b"content-length: ", b"Content-Length:", b"Content-Length : "]),
    )
)
def test_what_is_taken_is_what_the_parser_would_have_read(data: bytes) -> None:
    assert KNOWN is not None
    body = KNOWN.body_in(data)
    if body is not None:
        parsed = _Parsed(data)
        assert (parsed.begun, parsed.complete, parsed.body, parsed.keep_alive) == (1, 1, body, True)


@given(st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_a_read_with_less_or_more_than_one_request_goes_to_the_parser(cut: int, behind: bytes) -> None:
    assert KNOWN is not None
    whole = _request(b"4", b"{  }")
    assert KNOWN.body_in(whole + behind) is None
    assert KNOWN.body_in(whole[: min(cut, len(whole) - 1)]) is None


@pytest.mark.parametrize(
    "data",
    [
        _request(b"4", b"{  "),
        _request(b"4", b"{  }P"),
        _request(b"4", b"{  }", more=b"content-encoding: gzip\r\n"),
        _request(b"4", b"{  }", name=b"x-length: "),
    ],
)
def test_a_head_out_of_the_ordinary_is_not_remembered(data: bytes) -> None:
    assert _known(data) is None


def test_a_head_that_closes_or_waits_for_leave_is_not_remembered() -> None:
    data = _request(b"4", b"{  }")
    assert _known(data, keep_alive=False) is None
    assert _known(data, expects_100=True) is None
