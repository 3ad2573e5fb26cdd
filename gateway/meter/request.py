"""Reads of a request what the gateway must know, and makes the body that goes upstream. Pure.

A stream's usage is asked for where the client did not; what Solar would refuse by name is taken out (sanitize.py); the rest goes through
byte for byte. Units: tokens, pages, bytes. Errors: `InvalidRequest` naming the field that is wrong.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from gateway.errors import InvalidRequest
from gateway.meter.endpoint import Counts, Endpoint, Takes
from gateway.meter.estimate import prompt_tokens_best, prompt_tokens_max
from gateway.meter.form import read_form
from gateway.meter.sanitize import sanitize
from gateway.meter.sizes import SIZES, UNKNOWN_SIZE

PAGES_MAX = 100
"""Pages of one synchronous document (upstage-api.md section 7, 2026-11-23)."""

_IMAGE_URI = re.compile(rb"data:[a-z]+/[a-z0-9.+-]+;base64,")


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class _Request(msgspec.Struct, gc=False):
    model: str
    stream: bool | None = None
    stream_options: _StreamOptions | UnsetType | None = UNSET
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None


_decode = msgspec.json.Decoder(_Request).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Ask(msgspec.Struct, frozen=True, gc=False):
    """What a request asks for, as far as the gateway must know, and the body that goes upstream."""

    model: str
    streamed: bool
    usage_wanted: bool
    output_tokens_max: int | None
    answers: int
    body: bytes
    changed: tuple[str, ...] = ()
    pages_best: int = 0


def read_request(endpoint: Endpoint, body: bytes, content_type: str = "") -> Ask:
    """Read the fields that matter, and change what must be changed."""
    if endpoint.takes is Takes.FORM:
        model, pages = read_form(body, content_type)
        return Ask(model, False, False, None, 1, body, pages_best=pages)
    try:
        request = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(error) from None
    if endpoint.counts is Counts.PAGES:
        pages = max(1, len(_IMAGE_URI.findall(body)))
        return Ask(request.model, False, False, None, 1, body, pages_best=pages)
    streamed = bool(request.stream) and endpoint.streams
    options = request.stream_options
    wanted = isinstance(options, _StreamOptions) and bool(options.include_usage)
    output_max = request.max_tokens
    if request.max_completion_tokens is not None or request.max_output_tokens is not None or (output_max or 0) < 0:
        output_max = _highest(request.max_tokens, request.max_completion_tokens, request.max_output_tokens)
    answers = 1 if request.n is None else request.n
    if not 1 <= answers <= 128:
        raise InvalidRequest("n must be from 1 to 128.", param="n")
    try:
        changed: tuple[str, ...] = ()
        if endpoint.markers.search(body) is not None:
            body, changed = sanitize(endpoint.rules, body, request.model)
        if streamed and not wanted and not endpoint.wire.usage_is_native:
            body = _with_usage_asked(body, had_options=options is not UNSET)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # In what is only passed on, wrong bytes are Solar's to refuse; in what is rewritten they are found here.
        raise InvalidRequest("The request body is not valid JSON in UTF-8.") from None
    return Ask(request.model, streamed, wanted, output_max, answers, body, changed)


def with_output_bound(endpoint: Endpoint, ask: Ask, tokens: int) -> Ask:
    """The same request with `max_tokens` set, where the client set none (`Bounds.can_be_set`)."""
    if endpoint.output_bound is None:
        raise ValueError(f"{endpoint.name} has no field that bounds the output")
    fields = _decode_fields(ask.body)
    fields[endpoint.output_bound] = msgspec.Raw(str(tokens).encode())
    changed = (*ask.changed, endpoint.output_bound)
    return replace(ask, body=msgspec.json.encode(fields), output_tokens_max=tokens, changed=changed)


class Bounds(msgspec.Struct, frozen=True, gc=False):
    """What a request can become at most, and likely."""

    prompt_tokens_max: int = 0
    """No prompt in a body of so many bytes has more."""
    prompt_tokens_best: int = 0
    output_tokens_max: int = 0
    """No answer to this request has more. A limit of 0 is none to rely on: some servers read it as "no limit"."""
    can_be_set: bool = False
    """Is its output unbounded, and can `max_tokens` be set for it?"""
    pages_max: int = 0


def bounds_of(endpoint: Endpoint, ask: Ask, body_bytes: int, model: str) -> Bounds:
    """Of a request for a model, in a body of so many bytes."""
    if endpoint.counts is Counts.PAGES:
        return Bounds(pages_max=PAGES_MAX)
    best = prompt_tokens_best(body_bytes)
    if endpoint.counts is Counts.PROMPT:  # embeddings take many prompts, each with a window of its own
        return Bounds(prompt_tokens_max(body_bytes), best)
    size, asked = SIZES.get(model), ask.output_tokens_max
    longest = UNKNOWN_SIZE.output_tokens_max if size is None else size.output_tokens_max
    return Bounds(
        prompt_tokens_max(body_bytes, None if size is None else size.context_tokens),
        best,
        ask.answers * (asked if asked and asked < longest else longest),
        asked is None and ask.answers == 1 and endpoint.output_bound is not None,
    )


def _highest(*limits: int | None) -> int:
    """Of the output limits that a request names, by whatever name."""
    named = [limit for limit in limits if limit is not None]
    if min(named) < 0:
        raise InvalidRequest("max_tokens must not be negative.", param="max_tokens")
    return max(named)


def _unreadable(error: Exception) -> InvalidRequest:
    if not isinstance(error, msgspec.ValidationError):
        return InvalidRequest("The request body is not a JSON object.")
    field = str(error).partition(" - at `$.")[2].rstrip("`")
    missing = "model" if "missing required field" in str(error) else None
    return InvalidRequest(f"The request body is not valid: {error}.", param=field or missing)


def _with_usage_asked(body: bytes, *, had_options: bool) -> bytes:
    if not had_options:
        start = body.index(b"{") + 1
        return body[:start] + b'"stream_options":{"include_usage":true},' + body[start:]
    fields = _decode_fields(body)
    given = fields["stream_options"]
    options = {} if bytes(given) == b"null" else _decode_fields(given)
    options["include_usage"] = msgspec.Raw(b"true")
    fields["stream_options"] = msgspec.Raw(msgspec.json.encode(options))
    return msgspec.json.encode(fields)
