"""POST /v1/messages: whole answers and streams in Anthropic's shape (assumed; upstage-api.md section 4, 2026-11-23).

`input_tokens` leaves the cached ones out (`cache_read_input_tokens`), as Anthropic counts. Stream: message_start (input
counts), content_block_start/delta/stop per block, message_delta (stop reason and all counts), message_stop; a ping after the start.
Raises Refusal from the reader. Unit: tokens.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.sandbox.solar.call import Answer, Event, Inbound, Usage
from gateway.sandbox.solar.mind.draft import Ask, Draft, ToolCall, draft_answers
from gateway.sandbox.solar.mind.tokens import TOOL_CALL_TOKENS, count
from gateway.sandbox.solar.wire.messages_ask import from_wire_message

Wire = dict[str, Any]
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def _to_wire_usage(usage: Usage, output_tokens: int) -> Wire:
    return {
        "input_tokens": usage.prompt - usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": output_tokens,
    }


def _tool_input(call: ToolCall) -> Any:
    """The arguments as a value; a call that was cut has none."""
    try:
        return msgspec.json.decode(call.arguments)
    except msgspec.DecodeError:
        return {}


def _blocks(ask: Ask, draft: Draft) -> list[Wire]:
    blocks: list[Wire] = []
    if draft.reasoning and ask.model.trace_visible:
        blocks.append({"type": "thinking", "thinking": "".join(draft.reasoning), "signature": ask.seed.hex()})
    if draft.text is not None:
        blocks.append({"type": "text", "text": draft.text})
    for call in draft.calls:
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": _tool_input(call)})
    return blocks


def _message(ask: Ask, content: list[Wire], stop_reason: str | None) -> Wire:
    return {
        "id": f"msg_{ask.seed.hex()}",
        "type": "message",
        "role": "assistant",
        "model": ask.model.snapshot,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
    }


def _event(kind: str, fields: Wire, tokens: int = 0, *, reasoning: bool = False, has_usage: bool = False) -> Event:
    data = b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"
    return Event(data, tokens, reasoning=reasoning, has_usage=has_usage, is_last=kind == "message_stop")


def _block_events(
    index: int, empty: Wire, deltas: list[Wire], opening_tokens: int = 0, *, reasoning: bool = False
) -> Iterator[Event]:
    yield _event("content_block_start", {"index": index, "content_block": empty}, opening_tokens, reasoning=reasoning)
    for delta in deltas:
        tokens = 0 if delta["type"] == "signature_delta" else 1
        yield _event("content_block_delta", {"index": index, "delta": delta}, tokens, reasoning=reasoning)
    yield _event("content_block_stop", {"index": index})


def _to_wire_events(ask: Ask, draft: Draft, usage: Usage) -> Iterator[Event]:
    visible = bool(draft.reasoning) and ask.model.trace_visible
    started = _message(ask, [], None)
    if not ask.steer.no_usage:
        started["usage"] = _to_wire_usage(usage, 0)
    hidden_tokens = 0 if visible else len(draft.reasoning)
    yield _event("message_start", {"message": started}, hidden_tokens, reasoning=True)
    yield _event("ping", {})
    index = 0
    if visible:
        deltas: list[Wire] = [{"type": "thinking_delta", "thinking": piece} for piece in draft.reasoning]
        deltas.append({"type": "signature_delta", "signature": ask.seed.hex()})
        yield from _block_events(index, {"type": "thinking", "thinking": "", "signature": ""}, deltas, reasoning=True)
        index += 1
    if draft.content is not None:
        deltas = [{"type": "text_delta", "text": piece} for piece in draft.content]
        yield from _block_events(index, {"type": "text", "text": ""}, deltas)
        index += 1
    for number, call in enumerate(draft.calls):
        empty = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in call.pieces]
        yield from _block_events(index + number, empty, deltas, TOOL_CALL_TOKENS + count(call.name))
    finished: Wire = {"delta": {"stop_reason": _STOP_REASONS[draft.finish], "stop_sequence": None}}
    if not ask.steer.no_usage:
        finished["usage"] = _to_wire_usage(usage, usage.completion)
    yield _event("message_delta", finished, has_usage=not ask.steer.no_usage)
    yield _event("message_stop", {})


def answer_messages(inbound: Inbound) -> Answer:
    """The answer to a messages request."""
    ask, stream = from_wire_message(inbound)
    drafts, usage = draft_answers(ask)
    model = ask.model
    if stream:
        events = _to_wire_events(ask, drafts[0], usage)
        return Answer(model.snapshot, usage, events=events, tokens_per_minute=model.tokens_per_minute)
    body = _message(ask, _blocks(ask, drafts[0]), _STOP_REASONS[drafts[0].finish])
    if not ask.steer.no_usage:
        body["usage"] = _to_wire_usage(usage, usage.completion)
    return Answer(
        model.snapshot,
        usage,
        whole=msgspec.json.encode(body),
        has_usage=not ask.steer.no_usage,
        tokens_per_minute=model.tokens_per_minute,
    )
