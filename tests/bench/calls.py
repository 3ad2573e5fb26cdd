"""What the load asks for, and what must come back. Pure; shared by the load, the mock and the checks.

A request's body tells the mock what to answer: a whole answer of 545 bytes, or a stream of so many events, so far apart.
Units: bytes, events, milliseconds between two events (0: as fast as they go).
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

PATH = "/v1/chat/completions"
MODEL = "solar-pro3"
INPUT_TOKENS = 24
ANSWER_BYTES = 545
UPSTREAM_KEY = "up_bench"
"""Only the gateway knows it: so the mock can tell its calls from those that come by the floor or directly."""

_STREAM = re.compile(rb"events=(\d+) gap_ms=(\d+)")
_OUTPUT_TOKENS_MIN, _OUTPUT_TOKENS_MAX = 10, 41
_FIRST, _LAST = b'{"id":"chatcmpl-0"', b"data: [DONE]\n\n"
DONE_COUNT = 1


class Stream(NamedTuple):
    """How a stream is to come: content, then one usage event; `[DONE]` is not counted."""

    events: int
    gap_ms: int


def whole_body() -> bytes:
    """A request for a whole answer."""
    return _body("Say hello.", streamed=False)


def stream_body(stream: Stream) -> bytes:
    """A request for a stream, whose usage the caller wants to see."""
    return _body(f"Count. events={stream.events} gap_ms={stream.gap_ms}", streamed=True)


def stream_asked(body: bytes) -> Stream | None:
    """The stream that a request asks for, or None where it asks for a whole answer."""
    found = _STREAM.search(body)
    return None if found is None else Stream(int(found[1]), int(found[2]))


def answer(call_number: int) -> tuple[bytes, int]:
    """(the mock's whole answer, its output tokens); the counts vary from call to call, so that a swapped one shows."""
    output = _OUTPUT_TOKENS_MIN + call_number % (_OUTPUT_TOKENS_MAX - _OUTPUT_TOKENS_MIN + 1)
    head = f'{_FIRST.decode()},"object":"chat.completion","created":1764000000,"model":"{MODEL}-251201","choices":[{{"index":0,'
    head += '"message":{"role":"assistant","content":"'
    tail = f'"}},"finish_reason":"stop"}}],{_usage(output)}}}'
    text = "Hello! How can I help you today? " * 16
    return (head + text[: ANSWER_BYTES - len(head) - len(tail)] + tail).encode(), output


def is_answer(body: bytes) -> bool:
    """Is this a whole answer of the mock, byte for byte as long as it was?"""
    return len(body) == ANSWER_BYTES and body.startswith(_FIRST) and body.endswith(b"}}")


def is_stream(body: bytes, events: int) -> bool:
    """Is this a stream of so many events, its usage among them, to its very end?"""
    return body.count(b"data: ") == events + DONE_COUNT and body.endswith(_LAST) and b'"usage":{' in body


CONTENT_EVENT = (
    b'data: {"id":"chatcmpl-0","object":"chat.completion.chunk","created":1764000000,"model":"solar-pro3-251201",'
    b'"choices":[{"index":0,"delta":{"content":" hello"},"finish_reason":null}]}\n\n'
)


def usage_event(output_tokens: int) -> bytes:
    """The last event before `[DONE]`."""
    head = f'data: {{"id":"chatcmpl-0","object":"chat.completion.chunk","created":1764000000,"model":"{MODEL}-251201",'
    return f'{head}"choices":[],{_usage(output_tokens)}}}\n\n'.encode() + _LAST


def request_of(base_url: str, secret: str, body: bytes) -> bytes:
    """One request as bytes of HTTP/1.1."""
    head = f"POST {PATH} HTTP/1.1\r\nhost: {urlsplit(base_url).netloc}\r\nauthorization: Bearer {secret}\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def _usage(output_tokens: int) -> str:
    counts = f'"prompt_tokens":{INPUT_TOKENS},"completion_tokens":{output_tokens}'
    return f'"usage":{{{counts},"total_tokens":{INPUT_TOKENS + output_tokens}}}'


def _body(text: str, *, streamed: bool) -> bytes:
    stream = '"stream":true,"stream_options":{"include_usage":true}' if streamed else '"stream":false'
    return f'{{"model":"{MODEL}","messages":[{{"role":"user","content":"{text}"}}],"max_tokens":256,{stream}}}'.encode()
