"""One HTTP/1.1 answer, from bytes. Pure: bytes go in, a head and pieces of a body come out; each answer has a parser of its own.

Which bytes belong to the answer is decided here, and strictly (RFC 9112, June 2022, sections 6 and 8): an answer that could be read in
two ways is refused, bytes behind its end are dropped and make its connection unfit for another. The head and the chunks are
parsed by httptools (llhttp, with none of its leniencies); bodies of a known length, or up to the end of the connection, are counted.
A head that is another's to the last byte says the same: it is not parsed again (`Heads`).
Units: bytes. Errors: `httpx.RemoteProtocolError`.
"""

from __future__ import annotations

import re

import httptools
import httpx

Headers = list[tuple[bytes, bytes]]

_HEAD_END = b"\r\n\r\n"
_VERSIONS = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_LAST_CHUNK = b"0\r\n\r\n"
_CHUNK_SIZE = re.compile(rb"0{0,4}([1-9A-Fa-f][0-9A-Fa-f]{0,7})\r\n")
"""Of a chunk that is not the last, and without extensions."""
_NO_BODY_STATUSES = (204, 304)
_FRAMING_LENGTHS = (len(b"content-length"), len(b"transfer-encoding"))
_TWO_LENGTHS = "The answer states its length more than once."
_EVENTS = b"text/event-stream"
_KNOWN_MAX = 256
_KNOWN_MAX_BYTES = 64 * 1024
"""Of head and body: what may come in one read."""


class _BytesBehindTheEnd(ValueError):
    """Stops the parser where another answer begins behind the last byte of this one."""


class KnownHead:
    """What the parser said of the head of a plain answer: a 2xx, no events, and a body of a known length behind it."""

    __slots__ = ("headers", "length_bytes", "notes", "reusable", "status")

    def __init__(self, status: int, headers: Headers, length_bytes: int, *, reusable: bool) -> None:
        self.status = status
        self.headers = headers
        self.length_bytes = length_bytes
        self.reusable = reusable
        self.notes: object = None
        """What a reader has made of these headers, for the next one."""


class Heads:
    """The last few heads that came, by their bytes. A server's heads differ by little more than the second; many are alike."""

    def __init__(self) -> None:
        self._known: dict[bytes, KnownHead] = {}

    def whole_in(self, data: bytes) -> tuple[KnownHead, bytes] | None:
        """(head, body) of these first bytes of an answer, where the head is known and they are all of the answer and nothing else."""
        end = data.find(_HEAD_END) + len(_HEAD_END)
        known = self._known.get(data[:end])
        return None if known is None or known.length_bytes != len(data) - end else (known, data[end:])

    def keep(self, head: bytes, known: KnownHead) -> None:
        if len(head) + known.length_bytes <= _KNOWN_MAX_BYTES:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[head] = known


class Answer:
    """Feed it what the connection brings; take from it what has come of the body."""

    begun = False
    """Has any byte of it come?"""
    head_complete = False
    complete = False
    reusable = False
    """Once complete: may its connection carry another request?"""
    status = 0
    version = b""
    buffered_bytes = 0
    between_chunks = False
    """Does the next byte begin a chunk?"""
    silent_bytes = 0
    """What came since the last of the body that was none of it."""

    _head = _reason = b""
    _head_bytes = 0
    _head_parsed = False
    _chunked = False
    _chunk_ended = True
    _left_bytes: int | None = 0
    _parser: httptools.HttpResponseParser | None = None

    def __init__(self, *, head_only: bool, head_max_bytes: int, heads: Heads | None = None) -> None:
        self._head_only = head_only
        self._head_max_bytes = head_max_bytes
        self._heads = heads
        self.headers: Headers = []
        self._pieces: list[bytes] = []

    # ---- from the connection ------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        if not self.head_complete:
            self.begun = True
            data = self._feed_heads(data)
            if not data:
                return
        if self.complete:
            self.reusable = False
        elif self._chunked:
            self._feed_chunks(data)
        else:
            if self._left_bytes is not None:
                left_bytes = self._left_bytes = self._left_bytes - len(data)
                if left_bytes <= 0:
                    self._end()
                if left_bytes < 0:
                    data = data[:left_bytes]
                    self.reusable = False
            self._pieces.append(data)
            self.buffered_bytes += len(data)

    def feed_eof(self) -> None:
        """The connection ended: the end of a body without a length, an error for any other that is not complete."""
        self.reusable = False
        if self.complete:
            return
        if not self.begun:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        if not self.head_complete:
            raise httpx.RemoteProtocolError("Server disconnected inside the header section.")
        if self._chunked or self._left_bytes is not None:
            raise httpx.RemoteProtocolError("Server disconnected inside the body.")
        self._end()

    @property
    def reason(self) -> bytes:
        """The words behind the status."""
        return self._reason[13 : self._reason.index(b"\r\n")]

    # ---- to the reader ------------------------------------------------------------------------------------------------------

    def take(self) -> bytes:
        """All of the body that has come and was not taken before."""
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.buffered_bytes = 0
        return body

    # ---- the head -----------------------------------------------------------------------------------------------------------

    def _feed_heads(self, data: bytes) -> bytes:
        """Parse whole header sections, skipping those of 1xx answers; returns what comes behind that of the answer."""
        while data and not self.head_complete:
            if self._head:
                data, self._head = self._head + data, b""
            if data[:9] not in _VERSIONS and not any(version.startswith(data) for version in _VERSIONS):
                raise httpx.RemoteProtocolError("The answer does not begin with an HTTP/1.x status line.")
            end = data.find(_HEAD_END) + len(_HEAD_END)
            whole = end >= len(_HEAD_END)
            if self._head_bytes + (end if whole else len(data)) > self._head_max_bytes:
                raise httpx.RemoteProtocolError(f"The header section is larger than {self._head_max_bytes} bytes.")
            if not whole:
                self._head = data
                return b""
            self._head_bytes += end
            head, data = (data, b"") if end == len(data) else (data[:end], data[end:])
            self._feed_head(head)
        return data

    def _feed_head(self, head: bytes) -> None:
        self.headers = []
        self._head_parsed = False
        self._parse(head)
        status = int(head[9:12]) if self._head_parsed else 0
        if status < 200:
            if status >= 100 and status != 101:  # 101 would make of the connection something else
                return
            raise httpx.RemoteProtocolError(f"The header section is malformed, or its status is none: {status}.")
        self.head_complete = True
        self.status = status
        self.version = head[:8]
        self._reason = head
        self._frame(status)
        is_plain = 200 <= status < 300 and self._head_bytes == len(head)
        if self._heads is not None and is_plain and self._left_bytes and _EVENTS not in head.lower():
            self._heads.keep(head, KnownHead(status, self.headers, self._left_bytes, reusable=self.reusable))

    def _frame(self, status: int) -> None:
        """How the body ends (RFC 9112 section 6.3)."""
        length = coding = None
        for name, value in self.headers:
            if len(name) not in _FRAMING_LENGTHS:
                continue
            lowered = name.lower()
            if lowered == b"content-length":
                if length is not None or coding is not None:
                    raise httpx.RemoteProtocolError(_TWO_LENGTHS)
                length = value
            elif lowered == b"transfer-encoding":
                if length is not None or coding is not None:
                    raise httpx.RemoteProtocolError(_TWO_LENGTHS)
                coding = value.lower()
        if coding is not None and (coding != b"chunked" or self.version != b"HTTP/1.1"):
            raise httpx.RemoteProtocolError("The answer has a transfer coding that is not 'chunked'.")
        if self._head_only or status in _NO_BODY_STATUSES:
            self._end()
        elif coding is not None:
            self._chunked = self.between_chunks = True
        elif length is None:
            self._left_bytes = None
            self.reusable = False
        else:
            self._left_bytes = int(length)
            if not self._left_bytes:
                self._end()

    # ---- the body -----------------------------------------------------------------------------------------------------------

    def whole_chunk(self, data: bytes) -> bytes | None:
        """The body's next piece, where these bytes are one chunk, all of it and nothing else; otherwise None, and nothing has happened.

        So it is with nearly every event of a stream; the parser stands between two chunks before it and after it.
        """
        if not self.between_chunks:
            return None
        size = _CHUNK_SIZE.match(data)
        if size is None or not data.endswith(b"\r\n"):
            return None
        start, end = size.end(), len(data) - 2
        if int(size[1], 16) != end - start:
            return None
        self.silent_bytes = 0
        return data[start:end]

    def _feed_chunks(self, data: bytes) -> None:
        before = self.buffered_bytes
        try:
            self._parse(data)
        except httpx.RemoteProtocolError:
            if not self.complete:
                raise
            self.reusable = False
        self.between_chunks = self._chunk_ended and data.endswith(b"\r\n")
        if self.complete:
            # The parser skips empty lines behind an answer in silence: only this ending shows that there are none.
            self.reusable = self.reusable and data.endswith(_LAST_CHUNK)
        elif self.buffered_bytes > before:
            self.silent_bytes = 0
        else:
            self.silent_bytes += len(data)
            if self.silent_bytes > self._head_max_bytes:
                raise httpx.RemoteProtocolError("The answer has endless chunk extensions or trailers.")

    def _end(self) -> None:
        self.complete = True
        self._parser = None  # it refers back to this answer: without the cycle, both go at once

    # ---- what httptools calls -----------------------------------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            if self.complete:
                raise httpx.RemoteProtocolError("Bytes came behind the end of the answer.")
            parser = self._parser = httptools.HttpResponseParser(self)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise httpx.RemoteProtocolError(f"The answer is malformed: {error}") from error

    def on_message_begin(self) -> None:
        if self.complete:
            raise _BytesBehindTheEnd

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.head_complete:  # behind the head come trailers, which nobody reads
            self.headers.append((name, value.rstrip()))

    def on_headers_complete(self) -> None:
        self._head_parsed = True
        if self._parser is not None:
            self.reusable = self._parser.should_keep_alive()

    def on_chunk_header(self) -> None:
        self._chunk_ended = False

    def on_chunk_complete(self) -> None:
        self._chunk_ended = True

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)
        self.buffered_bytes += len(data)

    def on_message_complete(self) -> None:
        if self._chunked:
            self._end()
