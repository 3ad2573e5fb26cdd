"""The head of a metered request, and how not to read the same one twice. Pure.

Errors: none; what is out of the ordinary is not remembered, and goes through the parser. Units: bytes.
"""

from __future__ import annotations

import re

from gateway.doors.asgi import check_body_headers
from gateway.edge.wire import from_wire_head, to_wire_error
from gateway.errors import GatewayError, InvalidRequest
from gateway.keys.secret import hash_of
from gateway.meter.endpoint import Endpoint

HEAD_MAX_BYTES = 64 * 1024
"""A request's head is refused beyond this."""
_HEAD_END = b"\r\n\r\n"
_DIGITS_MAX = 11
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,%d})\r\n" % _DIGITS_MAX, re.IGNORECASE)


def to_wire_too_large() -> bytes:
    """The whole answer to a head beyond the bound."""
    error = GatewayError(f"The head of the request is larger than the {HEAD_MAX_BYTES} bytes that this gateway takes.")
    error.code, error.type = "request_headers_too_large", "invalid_request_error"
    body = to_wire_error(error)
    lines = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    return b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + lines + body


class RequestHead:
    """What the head of a metered request says."""

    __slots__ = (
        "content_type",
        "endpoint",
        "expects_100",
        "headers",
        "idempotency_key",
        "keep_alive",
        "secret",
        "secret_hash",
    )

    def __init__(
        self, endpoint: Endpoint, headers: list[tuple[bytes, bytes]], *, keep_alive: bool, expects_100: bool
    ) -> None:
        self.endpoint = endpoint
        self.headers = headers
        self.secret, self.content_type, self.idempotency_key = from_wire_head(headers)
        self.secret_hash = hash_of(self.secret)
        self.keep_alive = keep_alive
        self.expects_100 = expects_100


class KnownHead:
    """The head of the last request of a connection, as bytes and as what the parser said of them.

    A client that keeps its connection sends the same head again and again, but for the length of the body. Where it does, and the whole
    request came in one read, the parser has nothing new to say.
    """

    __slots__ = ("_after", "_before", "head")

    def __init__(self, before: bytes, after: bytes, head: RequestHead) -> None:
        self._before = before
        """Up to the number of the content length."""
        self._after = after
        """From there to the end of the head."""
        self.head = head

    @classmethod
    def of(cls, data: bytes, head: RequestHead) -> KnownHead | None:
        """What to remember of the read that brought a request; None where it brought more or less than one, or one out of the ordinary."""
        end = data.find(_HEAD_END) + len(_HEAD_END)
        length = _LENGTH.search(data, 0, end)
        if not head.keep_alive or head.expects_100 or length is None or int(length[1]) != len(data) - end:
            return None
        try:
            check_body_headers(head.headers, int(length[1]))
        except InvalidRequest:
            return None
        return cls(data[: length.start(1)], data[length.end(1) : end], head)

    def body_in(self, data: bytes) -> bytes | None:
        """The body of another request with this head; None where it is not one, or not all there is."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        at = data.find(b"\r", len(before), len(before) + _DIGITS_MAX + 1)
        digits = data[len(before) : at]
        if at < 0 or not digits.isdigit() or not data.startswith(after, at):
            return None
        start = at + len(after)
        return data[start:] if int(digits) == len(data) - start else None
