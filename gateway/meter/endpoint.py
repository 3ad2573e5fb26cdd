"""What tells one metered endpoint from another: a small value, never a second journey. Pure.

Units: tokens. Errors: `InvalidRequest` naming the field that is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from msgspec import UNSET, UnsetType

from gateway.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A metered endpoint: its name in the ledger and in scopes, its path upstream, and whether it makes output tokens."""

    name: str
    upstream_path: str
    generates: bool


CHAT = Endpoint("chat", "/chat/completions", generates=True)
EMBEDDINGS = Endpoint("embeddings", "/embeddings", generates=False)


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Context window and longest output of a model, in tokens."""

    context_tokens: int
    output_tokens_max: int


SIZES: Mapping[str, ModelSize] = {
    # upstage-api.md section 2, 2026-11-23. Where catalogues disagree the larger figure stands: these are upper bounds.
    "solar-pro4": ModelSize(524_288, 131_072),
    "solar-mini4": ModelSize(524_288, 131_072),
    "solar-pro3": ModelSize(131_072, 32_768),
    "solar-pro2": ModelSize(65_536, 8_192),
    "solar-mini": ModelSize(32_768, 4_096),
    "solar-embedding-2-query": ModelSize(8_192, 0),
    "solar-embedding-2-passage": ModelSize(8_192, 0),
    "embedding-query": ModelSize(4_000, 0),
    "embedding-passage": ModelSize(4_000, 0),
}
UNKNOWN_SIZE = ModelSize(131_072, 131_072)
"""For a model that only a rate card knows."""


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Request(msgspec.Struct):
    model: str
    stream: bool | None = None
    stream_options: _StreamOptions | UnsetType | None = UNSET
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None


_decode = msgspec.json.Decoder(_Request).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request asks for, as far as the gateway must know, and the body that goes upstream."""

    model: str
    streamed: bool
    usage_wanted: bool
    output_tokens_max: int | None
    answers: int
    body: bytes


def read_request(endpoint: Endpoint, body: bytes) -> Ask:
    """Read the fields that matter. A stream's usage is asked for where the client did not; the rest goes through byte for byte."""
    try:
        request = _decode(body)
    except msgspec.ValidationError as error:
        field = str(error).partition(" - at `$.")[2].rstrip("`")
        missing = "model" if "missing required field" in str(error) else None
        raise InvalidRequest(f"The request body is not valid: {error}.", param=field or missing) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest("The request body is not a JSON object.") from None
    streamed = bool(request.stream) and endpoint.generates
    options = request.stream_options
    wanted = isinstance(options, _StreamOptions) and bool(options.include_usage)
    limits = [limit for limit in (request.max_tokens, request.max_completion_tokens) if limit is not None]
    if any(limit < 0 for limit in limits):
        raise InvalidRequest("max_tokens must not be negative.", param="max_tokens")
    answers = 1 if request.n is None else request.n
    if not 1 <= answers <= 128:
        raise InvalidRequest("n must be from 1 to 128.", param="n")
    if streamed and not wanted:
        body = _with_usage_asked(body, had_options=options is not UNSET)
    return Ask(request.model, streamed, wanted, max(limits) if limits else None, answers, body)


def output_tokens_bound(endpoint: Endpoint, ask: Ask, model: str) -> int:
    """No answer to this request has more output tokens. A limit of 0 is none to rely on: some servers read it as "no limit"."""
    if not endpoint.generates:
        return 0
    longest = SIZES.get(model, UNKNOWN_SIZE).output_tokens_max
    return ask.answers * min(longest, ask.output_tokens_max or longest)


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
