"""An `httpx.Request` as bytes of HTTP/1.1. Pure.

Nothing that a caller puts into a header can become a line of its own, and the framing that is declared is the framing that is sent
(RFC 9112, June 2022, sections 2.2, 5 and 6). Requests of the same header names share a template, so that writing one is a single
formatting of bytes. Units: bytes. Errors: `httpx.LocalProtocolError`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable
from functools import lru_cache
from typing import NamedTuple

import httpx
import msgspec

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(rb"[!-~]+")
_LF, _CR, _NUL = b"\n\r\0"
_LAST_CHUNK = b"0\r\n\r\n"


class Outgoing(msgspec.Struct, frozen=True):
    """A request as it is written."""

    data: bytes
    """The head; the body too, where it was known."""
    pieces: AsyncIterable[bytes] | None
    """A body that comes piece by piece."""
    length_bytes: int | None
    """The declared length of the body; None: chunks, or no body."""
    head_only: bool
    """It is a HEAD: its answer has no body."""
    keep_alive: bool


class _Shape(NamedTuple):
    """What the names of a request's headers say: how to write it, and where the values are that frame it."""

    template: bytes
    """Takes the first line, the values, and what is added to the headers."""
    content_length_at: int | None
    transfer_encoding_at: int | None
    connection_at: int | None


def to_wire_request(request: httpx.Request) -> Outgoing:
    first_line = _to_wire_first_line(request.method, request.url.raw_path)
    names, values = zip(*request.headers.raw, strict=True) if request.headers else ((), ())
    shape = _shape_of(names)
    body, pieces = _body_of(request.stream)
    length_bytes, added = None, b""
    if shape.content_length_at is not None:
        length_bytes = _declared_length(values[shape.content_length_at])
        if pieces is None and length_bytes != len(body):
            raise httpx.LocalProtocolError(f"The body has {len(body)} bytes, its declared length is {length_bytes}.")
    elif shape.transfer_encoding_at is not None:
        if values[shape.transfer_encoding_at].lower() != b"chunked":
            raise httpx.LocalProtocolError("The request has a transfer coding that is not 'chunked'.")
        if pieces is None:
            body = (_to_wire_chunk(body) if body else b"") + _LAST_CHUNK
    elif pieces is not None:
        added = b"transfer-encoding: chunked\r\n"
    elif body:
        added = b"content-length: %d\r\n" % len(body)

    text = b"".join(values)
    if _LF in text or _CR in text or _NUL in text:
        raise httpx.LocalProtocolError("A header of the request has a line break or a zero byte.")
    keep_alive = shape.connection_at is None or b"close" not in values[shape.connection_at].lower()
    head = shape.template % (first_line, *values, added)
    return Outgoing(head + body, pieces, length_bytes, request.method == "HEAD", keep_alive)


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
    return _LAST_CHUNK if left_bytes is None else b""


def _to_wire_chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def _body_of(stream: object) -> tuple[bytes, AsyncIterable[bytes] | None]:
    if isinstance(stream, httpx.ByteStream):
        return b"".join(stream), None
    if isinstance(stream, httpx.AsyncByteStream):
        return b"", stream
    raise httpx.LocalProtocolError("The body of an asynchronous request must be an asynchronous stream.")


def _declared_length(value: bytes) -> int:
    if not value.isdigit():
        raise httpx.LocalProtocolError("The content length of the request is no number.")
    return int(value)


@lru_cache(maxsize=256)
def _shape_of(names: tuple[bytes, ...]) -> _Shape:
    for name in names:
        if not _TOKEN.fullmatch(name):
            raise httpx.LocalProtocolError(f"{name!r} is not the name of a header.")
    lowered = [name.lower() for name in names]
    if lowered.count(b"host") != 1:
        raise httpx.LocalProtocolError("The request must have one Host header.")
    framing = [name for name in lowered if name in (b"content-length", b"transfer-encoding")]
    if len(framing) > 1:
        raise httpx.LocalProtocolError("The request states the length of its body more than once.")
    if lowered.count(b"connection") > 1:
        raise httpx.LocalProtocolError("The request has more than one Connection header.")
    lines = [b"%b", *(name.replace(b"%", b"%%") + b": %b\r\n" for name in names), b"%b\r\n"]
    places = {name: place for place, name in enumerate(lowered)}
    return _Shape(
        b"".join(lines), places.get(b"content-length"), places.get(b"transfer-encoding"), places.get(b"connection")
    )


@lru_cache(maxsize=256)
def _to_wire_first_line(method: str, target: bytes) -> bytes:
    wire = method.encode("ascii", "replace")
    if not _TOKEN.fullmatch(wire) or wire == b"CONNECT":
        raise httpx.LocalProtocolError(f"{method!r} is not a method that can be sent.")
    if not _TARGET.fullmatch(target):
        raise httpx.LocalProtocolError("The target of the request has a character that must be escaped.")
    return b"%b %b HTTP/1.1\r\n" % (wire, target)
