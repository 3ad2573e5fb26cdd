"""What inference answers: the text, the tokens, the price. Frozen values, read from the wire here.

Units: tokens. `input_tokens` leaves the cached ones out, `output_tokens` holds the reasoning ones. Money is Decimal,
with its currency beside it; None where the gateway named no price. Raises MalformedAnswerError.
Shapes: OpenAI's chat completion and embedding list as Solar sends them (upstage-api.md sections 3 and 5, 2026-11-23).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Generic, TypeVar

from ..core import wire
from ..core.wire import Json

_T = TypeVar("_T")


@dataclass(frozen=True)
class Usage:
    """Tokens of one call."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0  # contained in output_tokens


@dataclass(frozen=True)
class ToolCall:
    """A function the model wants called; `arguments` is JSON text as the model wrote it, which may be invalid."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Reply:
    """One chat answer. `str(reply)` is its text."""

    text: str
    model: str
    finish_reason: str | None
    tool_calls: tuple[ToolCall, ...]
    reasoning: str | None
    usage: Usage | None
    cost: Decimal | None
    currency: str | None
    call_id: str | None
    raw: Json = field(repr=False, compare=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Parsed(Generic[_T]):
    """A value that the model filled in, and the reply that it came in."""

    value: _T
    reply: Reply


@dataclass(frozen=True)
class ResponseReply:
    """An answer of `/v1/responses`. `str()` is its text."""

    text: str
    id: str | None
    status: str | None
    model: str
    usage: Usage | None
    cost: Decimal | None
    currency: str | None
    call_id: str | None
    raw: Json = field(repr=False, compare=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Document:
    """What was read from a document: each form that was asked for, or None. `pages` are the ones paid for."""

    html: str | None
    markdown: str | None
    text: str | None
    pages: int
    model: str | None
    cost: Decimal | None
    currency: str | None
    call_id: str | None
    raw: Json = field(repr=False, compare=False)


@dataclass(frozen=True)
class RawAnswer:
    """A 2xx answer as it came, for what this SDK has no words for."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    call_id: str | None = None

    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Embeddings:
    """One vector for each text, in the order of the texts."""

    vectors: tuple[tuple[float, ...], ...] = field(repr=False)
    model: str
    usage: Usage | None
    cost: Decimal | None
    currency: str | None
    call_id: str | None
    raw: Json = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.vectors)


def from_wire_usage(usage: Json | None) -> Usage | None:
    if usage is None:
        return None
    prompt_details = wire.optional_object(usage, "prompt_tokens_details") or {}
    completion_details = wire.optional_object(usage, "completion_tokens_details") or {}
    cached_tokens = wire.count(prompt_details, "cached_tokens")
    return Usage(
        input_tokens=wire.count(usage, "prompt_tokens") - cached_tokens,
        cached_input_tokens=cached_tokens,
        output_tokens=wire.count(usage, "completion_tokens"),
        reasoning_tokens=wire.count(completion_details, "reasoning_tokens"),
    )


def from_wire_price(headers: Mapping[str, str], usage: Json | None) -> tuple[Decimal | None, str | None]:
    """Cost and currency: from the headers of a whole answer, else from a stream's usage event."""
    if "x-solar-cost" in headers:
        return wire.to_decimal(headers["x-solar-cost"], "x-solar-cost"), headers.get("x-solar-currency")
    if usage is None:
        return None, None
    return wire.optional_decimal(usage, "cost"), wire.optional_text(usage, "currency")


def from_wire_reply(completion: Json, headers: Mapping[str, str]) -> Reply:
    choices = wire.objects(completion, "choices")
    if not choices:
        raise wire.malformed("choices", "a list with an answer")
    first = choices[0]
    message = wire.as_object(first.get("message"), "message")
    usage = wire.optional_object(completion, "usage")
    cost, currency = from_wire_price(headers, usage)
    return Reply(
        text=wire.optional_text(message, "content") or "",
        model=wire.text(completion, "model"),
        finish_reason=wire.optional_text(first, "finish_reason"),
        tool_calls=wire.each(message, "tool_calls", _from_wire_tool_call) if message.get("tool_calls") else (),
        reasoning=wire.optional_text(message, "reasoning"),
        usage=from_wire_usage(usage),
        cost=cost,
        currency=currency,
        call_id=headers.get("x-request-id"),
        raw=completion,
    )


def from_wire_response_usage(usage: Json | None) -> Usage | None:
    """Usage as `/v1/responses` tells it."""
    if usage is None:
        return None
    cached_tokens = wire.count(wire.optional_object(usage, "input_tokens_details") or {}, "cached_tokens")
    reasoning = wire.optional_object(usage, "output_tokens_details") or {}
    return Usage(
        input_tokens=wire.count(usage, "input_tokens") - cached_tokens,
        cached_input_tokens=cached_tokens,
        output_tokens=wire.count(usage, "output_tokens"),
        reasoning_tokens=wire.count(reasoning, "reasoning_tokens"),
    )


def from_wire_response(response: Json, headers: Mapping[str, str]) -> ResponseReply:
    usage = wire.optional_object(response, "usage")
    cost, currency = from_wire_price(headers, usage)
    parts = [
        part
        for item in (wire.objects(response, "output") if response.get("output") else ())
        for part in (wire.objects(item, "content") if item.get("type") == "message" else ())
    ]
    return ResponseReply(
        text="".join(wire.optional_text(part, "text") or "" for part in parts if part.get("type") == "output_text"),
        id=wire.optional_text(response, "id"),
        status=wire.optional_text(response, "status"),
        model=wire.text(response, "model"),
        usage=from_wire_response_usage(usage),
        cost=cost,
        currency=currency,
        call_id=headers.get("x-request-id"),
        raw=response,
    )


def from_wire_document(answer: Json, headers: Mapping[str, str]) -> Document:
    content = wire.optional_object(answer, "content") or {}
    usage = wire.optional_object(answer, "usage")
    cost, currency = from_wire_price(headers, usage)
    return Document(
        html=wire.optional_text(content, "html"),
        markdown=wire.optional_text(content, "markdown"),
        text=wire.optional_text(content, "text") or wire.optional_text(answer, "text"),
        pages=wire.count(usage or {}, "pages") or wire.count(answer, "numBilledPages"),
        model=wire.optional_text(answer, "model"),
        cost=cost,
        currency=currency,
        call_id=headers.get("x-request-id"),
        raw=answer,
    )


def from_wire_embeddings(answer: Json, headers: Mapping[str, str]) -> Embeddings:
    rows = sorted(wire.objects(answer, "data"), key=lambda row: wire.count(row, "index"))
    usage = wire.optional_object(answer, "usage")
    cost, currency = from_wire_price(headers, usage)
    return Embeddings(
        vectors=tuple(_from_wire_vector(row) for row in rows),
        model=wire.text(answer, "model"),
        usage=from_wire_usage(usage),
        cost=cost,
        currency=currency,
        call_id=headers.get("x-request-id"),
        raw=answer,
    )


def _from_wire_vector(row: Json) -> tuple[float, ...]:
    vector = row.get("embedding")
    if not isinstance(vector, list) or not all(isinstance(number, int | float) for number in vector):
        raise wire.malformed("embedding", "a list of numbers")
    return tuple(float(number) for number in vector)


def _from_wire_tool_call(call: Json) -> ToolCall:
    function = wire.as_object(call.get("function"), "function")
    return ToolCall(
        id=wire.optional_text(call, "id") or "",
        name=wire.optional_text(function, "name") or "",
        arguments=wire.optional_text(function, "arguments") or "",
    )
