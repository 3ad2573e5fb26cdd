"""Reads an Anthropic-style /v1/messages request and turns it into an Ask. Pure.

Shape: Anthropic's Messages API; Upstage publishes no reference of its own (upstage-api.md section 4, 2026-11-23). max_tokens is
required; thinking `enabled` or `adaptive` switches reasoning on; unknown fields are ignored. Raises Refusal (400).
"""

from typing import Any

import msgspec

from gateway.sandbox.solar.call import Inbound
from gateway.sandbox.solar.mind.draft import Ask, Tool
from gateway.sandbox.solar.mind.models import find_chat
from gateway.sandbox.solar.mind.tokens import count, frame
from gateway.sandbox.solar.refusals import bad_request
from gateway.sandbox.solar.wire.chat_ask import TOKENS_MAX, after_result, extra_tokens, last_user_text
from gateway.sandbox.solar.wire.fields import Fields, as_fields, decode_object

_THINKING = {"enabled": True, "adaptive": True, "disabled": False}


def _block_text(block: Any, where: str) -> str:
    """The text of one content block; images are refused."""
    fields = as_fields(block, where)
    match fields.text("type"):
        case "text":
            return fields.text("text") or ""
        case "thinking":
            return fields.text("thinking") or ""
        case "tool_use":
            return f"{fields.required_text('name')}{msgspec.json.encode(fields.values.get('input')).decode()}"
        case "tool_result":
            return _content_text(fields.values.get("content") or "", where)
        case kind:
            raise bad_request(f"'{where}': content of type {kind!r} is not supported by this model", where)


def _content_text(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad_request(f"'{where}' must be a string or an array of blocks", where)
    return "".join(_block_text(block, where) for block in content)


def _message(raw: Any, position: int) -> tuple[str, list[str]]:
    """Role and text; a message that begins with a tool's result has the role tool."""
    where = f"messages[{position}]"
    message = as_fields(raw, where)
    role = message.required_text("role")
    if role not in ("user", "assistant"):
        raise bad_request(f"'{where}.role' must be user or assistant", f"{where}.role")
    content = message.values.get("content")
    text = _content_text(content, f"{where}.content")
    if isinstance(content, list) and content and content[0].get("type") == "tool_result":
        return "tool", [text]
    return role, [text]


def _tools(request: Fields) -> list[Tool]:
    tools = []
    for position, raw in enumerate(request.items("tools") or ()):
        tool = as_fields(raw, f"tools[{position}]")
        schema = tool.inner("input_schema")
        tools.append(Tool(tool.required_text("name"), schema.values if schema else {}))
    return tools


def _tool_mode(choice: Fields | None, tools: list[Tool]) -> str:
    match choice.text("type") if choice else "auto":
        case "auto":
            return "auto"
        case "none":
            return "none"
        case "any":
            return "required"
        case "tool" if choice and choice.text("name") in [tool.name for tool in tools]:
            return f"function:{choice.text('name')}"
        case kind:
            raise bad_request(f"'tool_choice' {kind!r} is not supported or names no tool", "tool_choice")


def from_wire_message(inbound: Inbound) -> tuple[Ask, bool]:
    """The Ask, and whether to stream."""
    request = Fields(decode_object(inbound.body))
    inbound.asked = request.required_text("model")
    raw = request.items("messages")
    if raw is None:
        raise bad_request("'messages' is a required property", "messages")
    messages = [_message(item, position) for position, item in enumerate(raw)]
    last_text = last_user_text(messages)
    steer = inbound.read_steer(last_text)
    model = find_chat(inbound.asked, inbound.retired)
    limit_tokens = request.whole("max_tokens", 1, TOKENS_MAX)
    if limit_tokens is None:
        raise bad_request("'max_tokens' is a required property", "max_tokens")
    request.number("temperature", 0, 2)
    system = request.values.get("system")
    texts = [text for _, message_texts in messages for text in message_texts]
    if system is not None:
        texts.append(_content_text(system, "system"))
    thinking = request.inner("thinking")
    tools = _tools(request)
    choice = request.inner("tool_choice")
    stops = request.items("stop_sequences") or []
    ask = Ask(
        model=model,
        seed=inbound.digest("messages", model.snapshot, *texts),
        prompt_tokens=frame(sum(map(count, texts)), len(texts)) + extra_tokens(request.values.get("tools")),
        last_text=last_text,
        steer=steer,
        limit_tokens=limit_tokens,
        reasoning_on=_THINKING.get(thinking.required_text("type"), False) if thinking else False,
        tools=tools,
        tool_mode=after_result(_tool_mode(choice, tools), answered=messages[-1][0] == "tool"),
        parallel=not (choice and choice.flag("disable_parallel_tool_use")),
        stops=[stop for stop in stops if isinstance(stop, str) and stop],
    )
    return ask, request.flag("stream") or False
