"""An `httpx.Request` as bytes of HTTP/1.1. Pure.

Nothing that a caller puts into a header can become a line of its own, and the framing that is declared is the framing that is sent
(RFC 9112, June 2022, sections 2.2, 5 and 6). Units: bytes. Errors: `httpx.LocalProtocolError`, `httpx.UnsupportedProtocol`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

import httpx

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class _Kind(IntEnum):
    PLAIN = 0
    HOST = 1
    CONTENT_LENGTH = 2
    TRANSFER_ENCODING = 3
    CONNECTION = 4


_KINDS = {
    b"host": _Kind.HOST,
    b"content-length": _Kind.CONTENT_LENGTH,
    b"transfer-encoding": _Kind.TRANSFER_ENCODING,
    b"connection": _Kind.CONNECTION,
}


class Origin(NamedTuple):
    """Where a connection leads."""

    scheme: str
    host: str
    port: int


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


def origin_of(url: httpx.URL) -> Origin:
    scheme = url.scheme
    if scheme not in _DEFAULT_PORTS or not url.host:
        raise httpx.UnsupportedProtocol(f"Only http:// and https:// addresses can be called, not {scheme!r}.")
    return Origin(scheme, url.raw_host.decode("ascii"), url.port or _DEFAULT_PORTS[scheme])


def to_wire_request(request: httpx.Request) -> Outgoing:
    method, target = _to_wire_method(request.method), request.url.raw_path
    lines = [b"%b %b HTTP/1.1" % (method, target)]
    framing: dict[_Kind, bytes] = {}
    for name, value in request.headers.raw:
        kind = _kind_of(name)
        if kind:
            if kind in framing and kind is not _Kind.CONNECTION:
                raise httpx.LocalProtocolError(f"The request has two {name!r} headers.")
            framing[kind] = value
        lines.append(b"%b: %b" % (name, value))
    if _Kind.HOST not in framing:
        raise httpx.LocalProtocolError("The request has no Host header.")

    body, pieces = _body_of(request.stream)
    length_bytes = _declared_length(framing)
    if _Kind.TRANSFER_ENCODING in framing:
        body = _to_wire_chunk(body) + _to_wire_chunk(b"") if pieces is None else b""
    elif pieces is None and length_bytes is None and body:
        lines.append(b"content-length: %d" % len(body))
    elif pieces is None and length_bytes is not None and length_bytes != len(body):
        raise httpx.LocalProtocolError(f"The body has {len(body)} bytes, its declared length is {length_bytes}.")
    elif pieces is not None and length_bytes is None:
        lines.append(b"transfer-encoding: chunked")

    lines.append(b"\r\n")
    head = b"\r\n".join(lines)
    breaks = len(lines)
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head or b" " in target:
        raise httpx.LocalProtocolError("The request has a line break or a zero byte in its target or in a header.")
    keep_alive = b"close" not in framing.get(_Kind.CONNECTION, b"").lower()
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


def _body_of(stream: object) -> tuple[bytes, AsyncIterable[bytes] | None]:
    if isinstance(stream, httpx.ByteStream):
        return b"".join(stream), None
    if isinstance(stream, httpx.AsyncByteStream):
        return b"", stream
    raise httpx.LocalProtocolError("The body of an asynchronous request must be an asynchronous stream.")


def _declared_length(framing: dict[_Kind, bytes]) -> int | None:
    length, coding = framing.get(_Kind.CONTENT_LENGTH), framing.get(_Kind.TRANSFER_ENCODING)
    if coding is not None and (length is not None or coding.lower() != b"chunked"):
        raise httpx.LocalProtocolError("The request's framing is not one of: a content length, 'chunked'.")
    if length is None:
        return None
    if not length.isdigit():
        raise httpx.LocalProtocolError("The request's content length is no number.")
    return int(length)


@lru_cache(maxsize=1024)
def _kind_of(name: bytes) -> _Kind:
    if not _TOKEN.fullmatch(name):
        raise httpx.LocalProtocolError(f"{name!r} is not the name of a header.")
    return _KINDS.get(name.lower(), _Kind.PLAIN)


@lru_cache(maxsize=64)
def _to_wire_method(method: str) -> bytes:
    wire = method.encode("ascii", "replace")
    if not _TOKEN.fullmatch(wire) or wire == b"CONNECT":
        raise httpx.LocalProtocolError(f"{method!r} is not a method that can be sent.")
    return wire
