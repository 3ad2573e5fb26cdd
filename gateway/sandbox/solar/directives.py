"""Steers one call from inside its text: `[[sim: delay_ms=200 tokens=40 id=abc]]`, because the gateway passes no headers on.

The first such mark in the last user message counts (elsewhere: first input of embeddings, the state of a decision, the
document's bytes); the request header `x-sim` takes the same words and wins. Words, each `name=value`, bounds in `_NUMBERS`:

    id=LABEL            label in the ground truth          delay_ms=N          wait before the answer's headers
    tokens=N            exact visible tokens (reasoning on top; max_tokens still cuts)
    cached=N            cached prompt tokens (at most the prompt)     reasoning=N   reasoning tokens (switches reasoning on)
    pages=N             pages of a document                pace_ms=N           wait between events
    error=S[:CODE]      status S with CODE; without CODE no body; retry_after_s=N for 429; error_times=N: only the first N
                        calls with this id (needs id)
    error_after=N       the error as an event after N events, then the end          drop=1   close without any answer
    cut_after=N         close after N events (a whole answer: in its middle)         no_done=1   end without the last event
    malformed_after=N   one broken event after N           stall_after=N:MS    silence of MS after N events
    keepalive=N         a comment before each Nth event    chunk_bytes=N       write in pieces of N bytes, blind to events
    batch=N             N events in one write (the default is one write each)
    no_usage=1          leave usage out                    usage_on=finish|separate   which chunk carries it (chat)
    empty_tool_name=1   later tool deltas carry name "" (2: the first too)

Pure. Raises Refusal (400) for an unknown word or a value out of bounds: a typing error in a test must be loud.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from gateway.sandbox.solar.refusals import Refusal, bad_request

_MARK = re.compile(r"\[\[sim:([^\]]*)\]\]")
_LABEL = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_CODE = re.compile(r"[a-z0-9_]{1,64}")
_EVENTS_MAX = 1_000_000
_STALL_MS_MAX = 120_000
_NUMBERS = {
    "delay_ms": (0, 120_000),
    "pace_ms": (0, 10_000),
    "tokens": (0, 131_072),
    "cached": (0, 1_000_000),
    "reasoning": (0, 131_072),
    "pages": (1, 1_000),
    "retry_after_s": (0, 3_600),
    "error_times": (1, 1_000),
    "error_after": (0, _EVENTS_MAX),
    "cut_after": (0, _EVENTS_MAX),
    "malformed_after": (0, _EVENTS_MAX),
    "keepalive": (0, 1_000),
    "chunk_bytes": (1, 65_536),
    "batch": (1, 10_000),
    "empty_tool_name": (0, 2),
    "drop": (0, 1),
    "no_done": (0, 1),
    "no_usage": (0, 1),
}


@dataclass(frozen=True, slots=True)
class Steer:
    """What one call was told to do. None: not told."""

    id: str = ""
    delay_ms: int = 0
    pace_ms: int = 0
    tokens: int | None = None
    cached: int | None = None
    reasoning: int | None = None
    pages: int | None = None
    error_status: int | None = None
    error_code: str | None = None
    retry_after_s: int = 1
    error_times: int | None = None
    error_after: int | None = None
    cut_after: int | None = None
    malformed_after: int | None = None
    stall_after: int | None = None
    stall_ms: int = 0
    keepalive: int = 0
    chunk_bytes: int | None = None
    batch: int = 1
    empty_tool_name: int = 0
    drop: int = 0
    no_done: int = 0
    no_usage: int = 0
    usage_on: str = "separate"

    def refusal(self) -> Refusal:
        """The error it was told to give."""
        status = self.error_status or 500
        retry_after_s = self.retry_after_s if status == 429 else None
        return Refusal(status, self.error_code, "simulated error", retry_after_s=retry_after_s)


_NONE = Steer()


def _whole_number(name: str, text: str, lowest: int, highest: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and lowest <= int(text) <= highest):
        raise bad_request(f"sim: {name} must be a whole number from {lowest} to {highest}, not {text!r}")
    return int(text)


def _apply(steer: Steer, name: str, text: str) -> Steer:
    if name in _NUMBERS:
        change: dict[str, Any] = {name: _whole_number(name, text, *_NUMBERS[name])}
        return replace(steer, **change)
    if name == "error":
        status, _, code = text.partition(":")
        if code and not _CODE.fullmatch(code):
            raise bad_request(f"sim: error code {code!r} must match {_CODE.pattern}")
        return replace(steer, error_status=_whole_number(name, status, 400, 599), error_code=code or None)
    if name == "stall_after":
        events, _, wait = text.partition(":")
        stall_ms = _whole_number(name, wait, 0, _STALL_MS_MAX)
        return replace(steer, stall_after=_whole_number(name, events, 0, _EVENTS_MAX), stall_ms=stall_ms)
    if name == "usage_on" and text in ("finish", "separate"):
        return replace(steer, usage_on=text)
    if name == "id" and _LABEL.fullmatch(text):
        return replace(steer, id=text)
    raise bad_request(f"sim: {name}={text} is not a known word or value")


@lru_cache(maxsize=1_024)
def parse_words(words: str, start: Steer = _NONE) -> Steer:
    """Reads `name=value` words into a Steer."""
    steer = start
    for word in words.split():
        name, _, text = word.partition("=")
        steer = _apply(steer, name, text)
    return steer


def parse_directive(text: str, header_words: str = "") -> Steer:
    """The Steer of a call: from the first mark in `text`, overruled by the words of the header."""
    mark = _MARK.search(text) if "[[sim:" in text else None
    steer = parse_words(mark[1]) if mark else _NONE
    return parse_words(header_words, steer) if header_words else steer
