"""POST /v1/responses: whole answers and typed events, in OpenAI's shape as Solar is thought to give it.

Events carry `type` and a rising `sequence_number`; the last is response.completed or response.incomplete and holds the usage
(upstage-api.md section 4, 2026-11-23); the events between are OpenAI's (assumed). Raises Refusal from the reader. Unit: tokens.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.sandbox.solar.call import CREATED_S, Answer, Event, Inbound, Usage
from gateway.sandbox.solar.mind.draft import Ask, Draft, ToolCall, draft_answers
from gateway.sandbox.solar.mind.tokens import TOOL_CALL_TOKENS, count
from gateway.sandbox.solar.wire.responses_ask import from_wire_response

Wire = dict[str, Any]


def _to_wire_usage(usage: Usage) -> Wire:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }


def _reasoning_item(ask: Ask, draft: Draft) -> Wire:
    text = "".join(draft.reasoning)
    return {"type": "reasoning", "id": f"rs_{ask.seed.hex()}", "summary": [{"type": "summary_text", "text": text}]}


def _message_item(ask: Ask, text: str, status: str) -> Wire:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    item_id = f"msg_{ask.seed.hex()}"
    return {"type": "message", "id": item_id, "role": "assistant", "status": status, "content": content}


def _call_item(call: ToolCall, arguments: str, status: str) -> Wire:
    return {
        "type": "function_call",
        "id": call.id.replace("call_", "fc_"),
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments,
        "status": status,
    }


def _status(draft: Draft) -> str:
    return "incomplete" if draft.finish == "length" else "completed"


def _items(ask: Ask, draft: Draft) -> list[Wire]:
    items = [_reasoning_item(ask, draft)] if draft.reasoning and ask.model.trace_visible else []
    if draft.text is not None:
        items.append(_message_item(ask, draft.text, _status(draft)))
    return items + [_call_item(call, call.arguments, _status(draft)) for call in draft.calls]


def _response(ask: Ask, status: str, items: list[Wire], usage: Usage | None) -> Wire:
    return {
        "id": f"resp_{ask.seed.hex()}",
        "object": "response",
        "created_at": CREATED_S,
        "status": status,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "error": None,
        "model": ask.model.snapshot,
        "output": items,
        "usage": _to_wire_usage(usage) if usage and not ask.steer.no_usage else None,
    }


def _draw_text(index: int, ask: Ask, draft: Draft) -> Iterator[tuple[str, Wire, int]]:
    """The events of the message item: type, fields, tokens."""
    text, part_type = draft.text or "", {"type": "output_text", "text": "", "annotations": []}
    at = {"output_index": index, "item_id": f"msg_{ask.seed.hex()}", "content_index": 0}
    opened = {**_message_item(ask, "", "in_progress"), "content": []}
    yield "response.output_item.added", {"output_index": index, "item": opened}, 0
    yield "response.content_part.added", {**at, "part": part_type}, 0
    for piece in draft.content or ():
        yield "response.output_text.delta", {**at, "delta": piece}, 1
    yield "response.output_text.done", {**at, "text": text}, 0
    yield "response.content_part.done", {**at, "part": {**part_type, "text": text}}, 0
    item = _message_item(ask, text, _status(draft))
    yield "response.output_item.done", {"output_index": index, "item": item}, 0


def _draw_call(index: int, call: ToolCall, status: str) -> Iterator[tuple[str, Wire, int]]:
    at = {"output_index": index, "item_id": call.id.replace("call_", "fc_")}
    opening = {"output_index": index, "item": _call_item(call, "", "in_progress")}
    yield "response.output_item.added", opening, TOOL_CALL_TOKENS + count(call.name)
    for piece in call.pieces:
        yield "response.function_call_arguments.delta", {**at, "delta": piece}, 1
    yield "response.function_call_arguments.done", {**at, "arguments": call.arguments}, 0
    yield "response.output_item.done", {"output_index": index, "item": _call_item(call, call.arguments, status)}, 0


def _draw_reasoning(ask: Ask, draft: Draft) -> Iterator[tuple[str, Wire, int]]:
    item = _reasoning_item(ask, draft)
    at = {"output_index": 0, "item_id": item["id"], "summary_index": 0}
    yield "response.output_item.added", {"output_index": 0, "item": {**item, "summary": []}}, 0
    for piece in draft.reasoning:
        yield "response.reasoning_summary_text.delta", {**at, "delta": piece}, 1
    yield "response.output_item.done", {"output_index": 0, "item": item}, 0


def _to_wire_events(ask: Ask, draft: Draft, usage: Usage) -> Iterator[Event]:
    sequence = iter(range(10_000_000))

    def event(kind: str, fields: Wire, tokens: int = 0, *, reasoning: bool = False, is_last: bool = False) -> Event:
        body = msgspec.json.encode({"type": kind, "sequence_number": next(sequence), **fields})
        has_usage = is_last and not ask.steer.no_usage
        data = b"event: " + kind.encode() + b"\ndata: " + body + b"\n\n"
        return Event(data, tokens, reasoning=reasoning, has_usage=has_usage, is_last=is_last)

    visible = bool(draft.reasoning) and ask.model.trace_visible
    hidden_tokens = 0 if visible else len(draft.reasoning)
    started = {"response": _response(ask, "in_progress", [], None)}
    yield event("response.created", started, hidden_tokens, reasoning=True)
    yield event("response.in_progress", started)
    index = 0
    if visible:
        for kind, fields, tokens in _draw_reasoning(ask, draft):
            yield event(kind, fields, tokens, reasoning=True)
        index = 1
    if draft.content is not None:
        for kind, fields, tokens in _draw_text(index, ask, draft):
            yield event(kind, fields, tokens)
        index += 1
    for number, call in enumerate(draft.calls):
        for kind, fields, tokens in _draw_call(index + number, call, _status(draft)):
            yield event(kind, fields, tokens)
    status = _status(draft)
    yield event(f"response.{status}", {"response": _response(ask, status, _items(ask, draft), usage)}, is_last=True)


def answer_responses(inbound: Inbound) -> Answer:
    """The answer to a responses request."""
    ask, stream = from_wire_response(inbound)
    drafts, usage = draft_answers(ask)
    draft = drafts[0]
    model = ask.model
    if stream:
        events = _to_wire_events(ask, draft, usage)
        return Answer(model.snapshot, usage, events=events, tokens_per_minute=model.tokens_per_minute)
    whole = msgspec.json.encode(_response(ask, _status(draft), _items(ask, draft), usage))
    return Answer(
        model.snapshot,
        usage,
        whole=whole,
        has_usage=not ask.steer.no_usage,
        tokens_per_minute=model.tokens_per_minute,
    )
