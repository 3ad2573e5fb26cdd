"""Reads a /v1/responses request, laxly: a short list is refused, what is not on the page is ignored. Pure.

Source: upstage-api.md section 4 (2026-11-23): refused with 400 are previous_response_id, conversation, background, `store`
true and non-text parts; an unsupported model is 404 model_not_found; too long is context_length_exceeded. Raises Refusal.
"""

from typing import Any

from gateway.sandbox.solar.call import Inbound
from gateway.sandbox.solar.mind.draft import Ask
from gateway.sandbox.solar.mind.models import ChatModel, find_chat
from gateway.sandbox.solar.mind.tokens import count, frame
from gateway.sandbox.solar.refusals import Refusal, bad_request
from gateway.sandbox.solar.wire.chat_ask import (
    TOKENS_MAX,
    after_result,
    content_text,
    extra_tokens,
    last_user_text,
    read_format,
    read_reasoning,
    read_tool_mode,
    read_tools,
)
from gateway.sandbox.solar.wire.fields import Fields, as_fields, decode_object

_REFUSED = ("previous_response_id", "conversation", "background")
_TEXT_PARTS = frozenset({"input_text", "output_text", "text"})


def _find_model(inbound: Inbound) -> ChatModel:
    try:
        return find_chat(inbound.asked, inbound.retired)
    except Refusal as unknown:
        text = f"The model '{inbound.asked}' does not exist or is not supported"
        raise Refusal(404, "model_not_found", text, param="model") from unknown


def _item(raw: Any, position: int) -> tuple[str, list[str]]:
    """Role and texts of one input item."""
    where = f"input[{position}]"
    item = as_fields(raw, where)
    kind = item.text("type") or "message"
    if kind == "function_call":
        return "assistant", [item.required_text("name"), item.text("arguments") or ""]
    if kind == "function_call_output":
        return "tool", [item.text("output") or ""]
    if kind == "reasoning":
        return "assistant", []
    if kind != "message":
        raise bad_request(f"'{where}.type' {kind!r} is not supported", where)
    return item.required_text("role"), [content_text(item.values.get("content"), f"{where}.content", _TEXT_PARTS)]


def _conversation(request: Fields) -> list[tuple[str, list[str]]]:
    raw = request.values.get("input")
    if isinstance(raw, str):
        items: list[tuple[str, list[str]]] = [("user", [raw])]
    elif isinstance(raw, list) and raw:
        items = [_item(item, position) for position, item in enumerate(raw)]
    else:
        raise bad_request("'input' must be a string or an array with at least one item", "input")
    instructions = request.text("instructions")
    return [("system", [instructions]), *items] if instructions else items


def _chat_shape(request: Fields) -> Fields:
    """Tools and formats are flat here and nested in chat: the same readers serve both."""
    shape: dict[str, Any] = {"tool_choice": request.values.get("tool_choice")}
    if (tools := request.items("tools")) is not None:
        shape["tools"] = [
            {"type": "function", "function": tool}
            if isinstance(tool, dict) and tool.get("type") == "function"
            else tool
            for tool in tools
        ]
        for tool in shape["tools"]:
            if isinstance(tool, dict) and isinstance(tool.get("function"), dict):
                tool["function"] = {key: value for key, value in tool["function"].items() if key != "strict"}
    choice = shape["tool_choice"]
    if isinstance(choice, dict) and "name" in choice:
        shape["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
    text = request.inner("text")
    text_format = text.values.get("format") if text else None
    if isinstance(text_format, dict):
        shape["response_format"] = {**text_format, "json_schema": text_format}
    return Fields(shape)


def _refuse_stateful(request: Fields) -> None:
    for key in _REFUSED:
        if request.values.get(key):
            raise bad_request(f"'{key}' is not supported", key)
    if request.flag("store"):
        raise bad_request("'store' true is not supported", "store")


def from_wire_response(inbound: Inbound) -> tuple[Ask, bool]:
    """The Ask, and whether to stream."""
    request = Fields(decode_object(inbound.body))
    inbound.asked = request.required_text("model")
    items = _conversation(request)
    last_text = last_user_text(items)
    steer = inbound.read_steer(last_text)
    model = _find_model(inbound)
    _refuse_stateful(request)
    request.number("temperature", 0, 2)
    shape = _chat_shape(request)
    tools = read_tools(shape, model)
    reasoning = request.inner("reasoning")
    texts = [text for _, item_texts in items for text in item_texts]
    text_format = request.inner("text")
    ask = Ask(
        model=model,
        seed=inbound.digest("responses", model.snapshot, *texts),
        prompt_tokens=frame(sum(map(count, texts)), len(items))
        + extra_tokens(request.values.get("tools"), text_format.values if text_format else None),
        last_text=last_text,
        steer=steer,
        limit_tokens=request.whole("max_output_tokens", 1, TOKENS_MAX),
        reasoning_on=read_reasoning(reasoning.values.get("effort") if reasoning else None, model),
        tools=tools,
        tool_mode=after_result(read_tool_mode(shape, tools), answered=items[-1][0] == "tool"),
        parallel=request.flag("parallel_tool_calls") is not False,
        schema=read_format(shape.inner("response_format"), "\x00".join(texts)),
        cache_key=request.text("prompt_cache_key"),
        overflow_code="context_length_exceeded",
    )
    return ask, request.flag("stream") or False
