"""POST /v1/chat/completions: whole answers and streams, in Solar's wire format.

Stream: a role chunk, `delta.reasoning` chunks, `delta.content` chunks (one token each) or tool-call deltas, the finish chunk,
with include_usage a chunk with empty choices and the usage, then `[DONE]`. Source: upstage-api.md section 3 (2026-11-23);
the position of the usage chunk is OpenAI's. Raises Refusal (400) from the request's reader. Unit: tokens.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec

from gateway.sandbox.solar.call import CREATED_S, Answer, Event, Inbound, Usage
from gateway.sandbox.solar.mind.draft import Ask, Draft, ToolCall, draft_answers
from gateway.sandbox.solar.mind.tokens import TOOL_CALL_TOKENS, count
from gateway.sandbox.solar.wire.chat_ask import from_wire_chat

DONE = Event(b"data: [DONE]\n\n", is_last=True, counted=False)
_encode = msgspec.json.encode


def to_wire_usage(usage: Usage, *, plain: bool) -> dict[str, Any]:
    """The usage block; `plain` models know only the three totals, and reasoning shows only where there was any."""
    wire: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
    }
    if not plain:
        wire["prompt_tokens_details"] = {"cached_tokens": usage.cached}
        if usage.reasoning:
            wire["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return wire


def _to_wire_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _to_wire_choice(draft: Draft, index: int, *, trace_visible: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": draft.text}
    if draft.reasoning and trace_visible:
        message["reasoning"] = "".join(draft.reasoning)
    if draft.calls:
        message["tool_calls"] = [_to_wire_call(call) for call in draft.calls]
    return {"index": index, "message": message, "logprobs": None, "finish_reason": draft.finish}


def _to_wire_whole(ask: Ask, drafts: list[Draft], usage: Usage) -> bytes:
    visible = ask.model.trace_visible
    body: dict[str, Any] = {
        "id": str(UUID(bytes=ask.seed)),
        "object": "chat.completion",
        "created": CREATED_S,
        "model": ask.model.snapshot,
        "choices": [_to_wire_choice(draft, index, trace_visible=visible) for index, draft in enumerate(drafts)],
    }
    if not ask.steer.no_usage:
        body["usage"] = to_wire_usage(usage, plain=ask.model.plain_usage)
    return _encode(body)


def _chunk_head(ask: Ask) -> bytes:
    head = {
        "id": str(UUID(bytes=ask.seed)),
        "object": "chat.completion.chunk",
        "created": CREATED_S,
        "model": ask.model.snapshot,
    }
    return b"data: " + _encode(head)[:-1]


def _call_events(head: bytes, tail: bytes, calls: list[ToolCall], empty_name: int) -> Iterator[Event]:
    for index, call in enumerate(calls):
        function = {"name": "" if empty_name > 1 else call.name, "arguments": ""}
        first = {"index": index, "id": call.id, "type": "function", "function": function}
        yield Event(head + b'"tool_calls":[' + _encode(first) + b"]" + tail, TOOL_CALL_TOKENS + count(call.name))
        for piece in call.pieces:
            later: dict[str, str] = {"name": "", "arguments": piece} if empty_name else {"arguments": piece}
            delta = {"index": index, "function": later}
            yield Event(head + b'"tool_calls":[' + _encode(delta) + b"]" + tail, 1)


def _to_wire_events(ask: Ask, draft: Draft, usage: Usage, *, with_usage: bool) -> Iterator[Event]:
    top = _chunk_head(ask)
    head = top + b',"choices":[{"index":0,"delta":{'
    tail = b'},"logprobs":null,"finish_reason":null}]}\n\n'
    shown = draft.reasoning if ask.model.trace_visible else []
    yield Event(head + b'"role":"assistant","content":""' + tail, len(draft.reasoning) - len(shown), reasoning=True)
    for piece in shown:
        yield Event(head + b'"reasoning":' + _encode(piece) + tail, 1, reasoning=True)
    for piece in draft.content or ():
        yield Event(head + b'"content":' + _encode(piece) + tail, 1)
    yield from _call_events(head, tail, draft.calls, ask.steer.empty_tool_name)
    finish = head + b'},"logprobs":null,"finish_reason":"' + draft.finish.encode() + b'"}]'
    usage_json = b',"usage":' + _encode(to_wire_usage(usage, plain=ask.model.plain_usage)) + b"}\n\n"
    carries = with_usage and not ask.steer.no_usage
    if carries and ask.steer.usage_on == "finish":
        yield Event(finish + usage_json, has_usage=True)
    else:
        yield Event(finish + b"}\n\n")
        if carries:
            yield Event(top + b',"choices":[]' + usage_json, has_usage=True)
    yield DONE


def answer_chat(inbound: Inbound) -> Answer:
    """The answer to a chat completions request."""
    ask, stream, with_usage = from_wire_chat(inbound)
    drafts, usage = draft_answers(ask)
    model = ask.model
    if stream:
        events = _to_wire_events(ask, drafts[0], usage, with_usage=with_usage)
        return Answer(model.snapshot, usage, events=events, tokens_per_minute=model.tokens_per_minute)
    return Answer(
        model.snapshot,
        usage,
        whole=_to_wire_whole(ask, drafts, usage),
        has_usage=not ask.steer.no_usage,
        tokens_per_minute=model.tokens_per_minute,
    )
