"""Chat answers in the shape that people know from openai: `completion.choices[0].message.content`.

Read-only values made from what the gateway sent; `raw` is the whole JSON, also by `model_dump()`. A message may be put back into
`messages=[...]` as it is. Beside the known fields: `cost`, `currency` and `call_id`. Units: tokens, Decimal. Raises MalformedAnswerError.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from ..core import wire
from ..core.wire import Json
from .replies import from_wire_price


class _Dumped:
    """What pydantic's users expect to find."""

    raw: Json

    def model_dump(self) -> Json:
        """The JSON as it came."""
        return dict(self.raw)

    def model_dump_json(self) -> str:
        return json.dumps(self.raw, ensure_ascii=False)


@dataclass(frozen=True)
class FunctionCall:
    """`arguments` is JSON text as the model wrote it (of a chunk: a piece of it), which may be invalid."""

    name: str | None
    arguments: str


@dataclass(frozen=True)
class CompletionToolCall:
    """A tool call; `index` is set in chunks."""

    id: str | None
    type: str
    function: FunctionCall
    index: int | None = None


@dataclass(frozen=True)
class CompletionMessage(_Dumped):
    """An answer's message, or in a chunk the piece of it (its `delta`)."""

    role: str | None
    content: str | None
    reasoning: str | None
    tool_calls: tuple[CompletionToolCall, ...] | None
    raw: Json = field(repr=False, compare=False)


@dataclass(frozen=True)
class CompletionChoice:
    index: int
    message: CompletionMessage
    finish_reason: str | None


@dataclass(frozen=True)
class ChunkChoice:
    index: int
    delta: CompletionMessage
    finish_reason: str | None


@dataclass(frozen=True)
class PromptTokensDetails:
    cached_tokens: int


@dataclass(frozen=True)
class CompletionTokensDetails:
    reasoning_tokens: int


@dataclass(frozen=True)
class CompletionUsage:
    """Tokens as Solar counts them: `prompt_tokens` holds the cached ones, `completion_tokens` the reasoning ones."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None
    completion_tokens_details: CompletionTokensDetails | None


@dataclass(frozen=True)
class ChatCompletion(_Dumped):
    """A whole answer."""

    id: str
    model: str
    created: int
    object: str
    choices: tuple[CompletionChoice, ...]
    usage: CompletionUsage | None
    cost: Decimal | None
    currency: str | None
    call_id: str | None
    raw: Json = field(repr=False, compare=False)


@dataclass(frozen=True)
class ChatCompletionChunk(_Dumped):
    """One event of a stream."""

    id: str
    model: str
    created: int
    object: str
    choices: tuple[ChunkChoice, ...]
    usage: CompletionUsage | None
    raw: Json = field(repr=False, compare=False)


def from_wire_completion(completion: Json, headers: Mapping[str, str]) -> ChatCompletion:
    usage = wire.optional_object(completion, "usage")
    cost, currency = from_wire_price(headers, usage)
    return ChatCompletion(
        id=wire.optional_text(completion, "id") or "",
        model=wire.text(completion, "model"),
        created=wire.count(completion, "created"),
        object=wire.optional_text(completion, "object") or "chat.completion",
        choices=wire.each(completion, "choices", _from_wire_choice),
        usage=_from_wire_usage(usage),
        cost=cost,
        currency=currency,
        call_id=headers.get("x-request-id"),
        raw=completion,
    )


def from_wire_chunk(chunk: Json) -> ChatCompletionChunk:
    return ChatCompletionChunk(
        id=wire.optional_text(chunk, "id") or "",
        model=wire.optional_text(chunk, "model") or "",
        created=wire.count(chunk, "created"),
        object=wire.optional_text(chunk, "object") or "chat.completion.chunk",
        choices=wire.each(chunk, "choices", _from_wire_chunk_choice) if chunk.get("choices") else (),
        usage=_from_wire_usage(wire.optional_object(chunk, "usage")),
        raw=chunk,
    )


def _from_wire_choice(choice: Json) -> CompletionChoice:
    message = wire.as_object(choice.get("message"), "message")
    reason = wire.optional_text(choice, "finish_reason")
    return CompletionChoice(wire.count(choice, "index"), _from_wire_message(message), reason)


def _from_wire_chunk_choice(choice: Json) -> ChunkChoice:
    delta = wire.optional_object(choice, "delta") or {}
    reason = wire.optional_text(choice, "finish_reason")
    return ChunkChoice(wire.count(choice, "index"), _from_wire_message(delta), reason)


def _from_wire_message(message: Json) -> CompletionMessage:
    return CompletionMessage(
        role=wire.optional_text(message, "role"),
        content=wire.optional_text(message, "content"),
        reasoning=wire.optional_text(message, "reasoning"),
        tool_calls=wire.each(message, "tool_calls", _from_wire_tool_call) if message.get("tool_calls") else None,
        raw=message,
    )


def _from_wire_tool_call(call: Json) -> CompletionToolCall:
    function = wire.optional_object(call, "function") or {}
    return CompletionToolCall(
        id=wire.optional_text(call, "id"),
        type=wire.optional_text(call, "type") or "function",
        function=FunctionCall(wire.optional_text(function, "name"), wire.optional_text(function, "arguments") or ""),
        index=wire.optional_count(call, "index"),
    )


def _from_wire_usage(usage: Json | None) -> CompletionUsage | None:
    if usage is None:
        return None
    prompt = wire.optional_object(usage, "prompt_tokens_details")
    completion = wire.optional_object(usage, "completion_tokens_details")
    return CompletionUsage(
        prompt_tokens=wire.count(usage, "prompt_tokens"),
        completion_tokens=wire.count(usage, "completion_tokens"),
        total_tokens=wire.count(usage, "total_tokens"),
        prompt_tokens_details=None if prompt is None else PromptTokensDetails(wire.count(prompt, "cached_tokens")),
        completion_tokens_details=None
        if completion is None
        else CompletionTokensDetails(wire.count(completion, "reasoning_tokens")),
    )
