"""An `httpx.Request` as bytes of HTTP/1.1. Pure.

Nothing that a caller puts into a header can become a line of its own, and the framing that is declared is the framing that is sent
(RFC 9112, June 2022, sections 2.2, 5 and 6). Units: bytes. Errors: `httpx.LocalProtocolError`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable
from functools import lru_cache
from typing import NamedTuple

import httpx

_HOST, _CONTENT_LENGTH, _TRANSFER_ENCODING, _CONNECTION = (
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"connection",
)
_FRAMING = frozenset({_HOST, _CONTENT_LENGTH, _TRANSFER_ENCODING, _CONNECTION})
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Outgoing(NamedTuple):
    """A request as it is written."""

    data: bytes
    """The head; the body too, where it was known."""
    pieces: AsyncIterable[bytes] | None
    """A body that comes piece by piece."""
    length_bytes: int | None
    """The declared length of `pieces`; None: they are sent as chunks."""
    head_only: bool
    """It is a HEAD: its answer has no body."""
    keep_alive: bool


def to_wire_request(request: httpx.Request) -> Outgoing:
    method, target = _to_wire_method(request.method), request.url.raw_path
    lines = [b"%b %b HTTP/1.1" % (method, target)]
    framing: dict[bytes, bytes] = {}
    for name, value in request.headers.raw:
        lines.append(name + b": " + value)
        special = _framing_name(name)
        if special is not None:
            if special in framing and special is not _CONNECTION:
                raise httpx.LocalProtocolError(f"The request has two {name!r} headers.")
            framing[special] = value
    if _HOST not in framing:
        raise httpx.LocalProtocolError("The request has no Host header.")

    body, pieces = _body_of(request.stream)
    length_bytes = _declared_length(framing)
    if _TRANSFER_ENCODING in framing:
        body = _to_wire_body_in_chunks(body) if pieces is None else b""
    elif pieces is not None:
        if length_bytes is None:
            lines.append(b"transfer-encoding: chunked")
    elif length_bytes is None:
        if body:
            lines.append(b"content-length: %d" % len(body))
    elif length_bytes != len(body):
        raise httpx.LocalProtocolError(f"The body has {len(body)} bytes, its declared length is {length_bytes}.")

    lines.append(b"\r\n")
    head = b"\r\n".join(lines)
    breaks = len(lines)
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head or b" " in target:
        raise httpx.LocalProtocolError("The request has a line break or a zero byte in its target or in a header.")
    keep_alive = _CONNECTION not in framing or b"close" not in framing[_CONNECTION].lower()
    return Outgoing(head + body, pieces, length_bytes, method == b"HEAD", keep_alive)


def to_wire_piece(piece: bytes, left_bytes: int | None) -> tuple[bytes, int | None]:
    """A piece of a body as it is written, and how much of its declared length is left (None: chunks)."""
    if left_bytes is None:
        return _to_wire_chunk(piece), None
    if len(piece) > left_bytes:
        raise httpx.LocalProtocolError("The body is longer than its declared length.")
    return piece, left_bytes - len(piece)


def to_wire_end(left_bytes: int | None) -> bytes:
    """What follows the last piece of a body."""
    if left_bytes:
        raise httpx.LocalProtocolError(f"The body is {left_bytes} bytes shorter than its declared length.")
    return _to_wire_chunk(b"") if left_bytes is None else b""


def _to_wire_chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def _to_wire_body_in_chunks(body: bytes) -> bytes:
    return (_to_wire_chunk(body) if body else b"") + _to_wire_chunk(b"")


def _body_of(stream: object) -> tuple[bytes, AsyncIterable[bytes] | None]:
    if isinstance(stream, httpx.ByteStream):
        return b"".join(stream), None
    if isinstance(stream, httpx.AsyncByteStream):
        return b"", stream
    raise httpx.LocalProtocolError("The body of an asynchronous request must be an asynchronous stream.")


def _declared_length(framing: dict[bytes, bytes]) -> int | None:
    length, coding = framing.get(_CONTENT_LENGTH), framing.get(_TRANSFER_ENCODING)
    if coding is not None and (length is not None or coding.lower() != b"chunked"):
        raise httpx.LocalProtocolError("The request's framing is not one of: a content length, 'chunked'.")
    if length is None:
        return None
    if not length.isdigit():
        raise httpx.LocalProtocolError("The request's content length is no number.")
    return int(length)


@lru_cache(maxsize=1024)
def _framing_name(name: bytes) -> bytes | None:
    """The lower-case name of a header that has to do with framing; None for any other."""
    if not _TOKEN.fullmatch(name):
        raise httpx.LocalProtocolError(f"{name!r} is not the name of a header.")
    return next((special for special in _FRAMING if special == name.lower()), None)


@lru_cache(maxsize=64)
def _to_wire_method(method: str) -> bytes:
    wire = method.encode("ascii", "replace")
    if not _TOKEN.fullmatch(wire) or wire == b"CONNECT":
        raise httpx.LocalProtocolError(f"{method!r} is not a method that can be sent.")
    return wire
