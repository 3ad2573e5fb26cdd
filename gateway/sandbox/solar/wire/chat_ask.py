"""Reads a chat completions request as strictly as Solar does, and turns it into an Ask. Pure.

Source: upstage-api.md section 3 (2026-11-23). `stop`, `n` and `top_k` are taken although only old client code speaks for
them; every other argument that Upstage does not list is refused. tool_choice `none` is taken (OpenAI's; not in the page).
Raises Refusal (400).
"""

from typing import Any

import msgspec

from gateway.sandbox.solar.call import Inbound
from gateway.sandbox.solar.mind.draft import Ask, Tool
from gateway.sandbox.solar.mind.models import ChatModel, find_chat
from gateway.sandbox.solar.mind.schemas import check_strict_schema
from gateway.sandbox.solar.mind.tokens import TOOL_CALL_TOKENS, count, frame
from gateway.sandbox.solar.refusals import bad_request
from gateway.sandbox.solar.wire.fields import Fields, as_fields, decode_object

ARGUMENTS = frozenset(
    [
        "model",
        "messages",
        "temperature",
        "top_p",
        "frequency_penalty",
        "presence_penalty",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "prompt_cache_key",
        "stop",
        "n",
        "top_k",
    ]
)
ROLES = frozenset({"system", "user", "assistant", "tool"})
CHOICES_MAX = 16
TOKENS_MAX = 10_000_000
ANY_OBJECT = {"type": "object", "properties": {"answer": {"type": "string"}}}
NUMBERS = {"temperature": (0, 2), "top_p": (0, 1), "frequency_penalty": (-2, 2), "presence_penalty": (-2, 2)}


def content_text(content: Any, where: str, part_types: frozenset[str] = frozenset({"text"})) -> str:
    """The text of a message: a string, or parts of text. Images are refused on every Solar chat model."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad_request(f"'{where}' must be a string or an array of text parts", where)
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in part_types or not isinstance(part.get("text"), str):
            raise bad_request(f"'{where}': content of type {kind!r} is not supported by this model", where)
        texts.append(part["text"])
    return "".join(texts)


def _call_texts(message: Fields) -> list[str]:
    texts: list[str] = []
    for position, call in enumerate(message.items("tool_calls") or ()):
        function = as_fields(as_fields(call, f"tool_calls[{position}]").values.get("function"), "tool_calls.function")
        texts += [function.required_text("name"), function.text("arguments") or ""]
    return texts


def _message(raw: Any, position: int) -> tuple[str, list[str]]:
    """The role and the texts of one message: its content first, then names and arguments of calls."""
    where = f"messages[{position}]"
    message = as_fields(raw, where)
    role = message.required_text("role")
    if role not in ROLES:
        raise bad_request(f"'{role}' is not one of {sorted(ROLES)}", f"{where}.role")
    calls = _call_texts(message)
    content = message.values.get("content")
    if role == "tool":
        message.required_text("tool_call_id")
    if content is None and role == "assistant" and calls:
        return role, ["", *calls]
    return role, [content_text(content, f"{where}.content"), *calls]


def read_messages(raw: Any) -> tuple[list[tuple[str, list[str]]], int]:
    """Roles and texts, and the prompt tokens they make."""
    if not isinstance(raw, list) or not raw:
        raise bad_request("'messages' must be an array with at least one message", "messages")
    messages = [_message(item, position) for position, item in enumerate(raw)]
    content_tokens = sum(count(text) for _, texts in messages for text in texts)
    calls_count = sum((len(texts) - 1) // 2 for _, texts in messages)
    return messages, frame(content_tokens + TOOL_CALL_TOKENS * calls_count, len(messages))


def read_tools(request: Fields, model: ChatModel) -> list[Tool]:
    """The functions on offer: never an empty array, never strict."""
    raw = request.items("tools")
    if raw is None:
        return []
    if not model.takes_tools:
        raise bad_request(f"{model.alias} does not support tools", "tools")
    tools = []
    for position, item in enumerate(raw):
        tool = as_fields(item, f"tools[{position}]")
        if tool.required_text("type") != "function":
            raise bad_request("only tools of type 'function' are supported", f"tools[{position}].type")
        function = as_fields(tool.values.get("function"), f"tools[{position}].function")
        if function.flag("strict"):
            raise bad_request("value not supported yet: strict true", f"tools[{position}].function.strict")
        parameters = function.inner("parameters")
        tools.append(Tool(function.required_text("name"), parameters.values if parameters else {}))
    return tools


def read_tool_mode(request: Fields, tools: list[Tool]) -> str:
    """auto, none, required or function:NAME."""
    choice = request.values.get("tool_choice")
    if choice is None:
        return "auto"
    if not tools:
        raise bad_request("'tool_choice' is only allowed when 'tools' are specified", "tool_choice")
    if choice in ("auto", "none", "required"):
        return str(choice)
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if name not in [tool.name for tool in tools]:
        raise bad_request(f"'tool_choice' {choice!r} names no function of 'tools'", "tool_choice")
    return f"function:{name}"


def after_result(mode: str, *, answered: bool) -> str:
    """Left to itself, the model answers a tool's result with words."""
    return "none" if answered and mode == "auto" else mode


def read_reasoning(effort: Any, model: ChatModel) -> bool:
    """Whether the model reasons; effort names differ per model, and models that do not reason refuse any."""
    if effort is None:
        return False
    known = isinstance(effort, str)
    if known and effort in model.efforts_on:
        return True
    if not known or effort not in model.efforts_off:
        names = sorted(model.efforts_off | model.efforts_on)
        text = f"'reasoning_effort' {effort!r} is not supported by {model.alias}; supported: {names}"
        raise bad_request(text, "reasoning_effort")
    return False


def read_format(response_format: Fields | None, conversation: str) -> dict[str, Any] | None:
    """The schema the content must satisfy, if any."""
    if response_format is None:
        return None
    kind = response_format.required_text("type")
    if kind == "text":
        return None
    if kind == "json_object":
        if "json" not in conversation.lower():
            raise bad_request("'messages' must contain the word 'json' to use json_object", "response_format")
        return ANY_OBJECT
    if kind != "json_schema":
        raise bad_request(f"'response_format.type' {kind!r} is not supported", "response_format.type")
    wrapper = as_fields(response_format.values.get("json_schema"), "response_format.json_schema")
    wrapper.required_text("name")
    if wrapper.flag("strict") is not True:
        raise bad_request("'response_format.json_schema.strict' must be true", "response_format.json_schema.strict")
    return check_strict_schema(wrapper.values.get("schema"))


def _stops(request: Fields) -> list[str]:
    raw = request.values.get("stop")
    stops = [raw] if isinstance(raw, str) else raw or []
    if not isinstance(stops, list) or len(stops) > 4 or not all(isinstance(stop, str) and stop for stop in stops):
        raise bad_request("'stop' must be a string or up to 4 strings", "stop")
    return stops


def _limit_tokens(request: Fields) -> int | None:
    limits = [request.whole(key, 1, TOKENS_MAX) for key in ("max_tokens", "max_completion_tokens")]
    return min((limit for limit in limits if limit is not None), default=None)


def last_user_text(messages: list[tuple[str, list[str]]]) -> str:
    """What the user said last."""
    return next((texts[0] for role, texts in reversed(messages) if role == "user"), "")


def extra_tokens(*raw: Any) -> int:
    """Tools and schemas cost the tokens of their JSON."""
    return sum(count(msgspec.json.encode(value).decode()) for value in raw if value is not None)


def _wants_stream(request: Fields) -> tuple[bool, bool]:
    """Whether to stream, and whether the stream carries usage."""
    stream = request.flag("stream") or False
    options = request.inner("stream_options")
    if options is None:
        return stream, False
    if not stream:
        raise bad_request("'stream_options' is only allowed when 'stream' is true", "stream_options")
    options.refuse_unknown(frozenset({"include_usage"}))
    return stream, options.flag("include_usage") or False


def from_wire_chat(inbound: Inbound) -> tuple[Ask, bool, bool]:
    """The Ask, whether to stream, and whether the stream carries usage."""
    request = Fields(decode_object(inbound.body))
    inbound.asked = request.required_text("model")
    messages, prompt_tokens = read_messages(request.values.get("messages"))
    last_text = last_user_text(messages)
    steer = inbound.read_steer(last_text)
    request.refuse_unknown(ARGUMENTS)
    model = find_chat(inbound.asked, inbound.retired)
    for key, (lowest, highest) in NUMBERS.items():
        request.number(key, lowest, highest)
    request.whole("top_k", 0, TOKENS_MAX)
    stream, with_usage = _wants_stream(request)
    choices_count = request.whole("n", 1, CHOICES_MAX) or 1
    if stream and choices_count > 1:
        raise bad_request("'n' must be 1 when streaming", "n")
    conversation = "\x00".join(text for _, texts in messages for text in texts)
    tools = read_tools(request, model)
    parallel = request.flag("parallel_tool_calls")
    ask = Ask(
        model=model,
        seed=inbound.digest(model.snapshot, conversation),
        prompt_tokens=prompt_tokens + extra_tokens(request.values.get("tools"), request.values.get("response_format")),
        last_text=last_text,
        steer=steer,
        limit_tokens=_limit_tokens(request),
        reasoning_on=read_reasoning(request.values.get("reasoning_effort"), model),
        tools=tools,
        tool_mode=after_result(read_tool_mode(request, tools), answered=messages[-1][0] == "tool"),
        parallel=parallel is not False,
        schema=read_format(request.inner("response_format"), conversation),
        stops=_stops(request),
        cache_key=request.text("prompt_cache_key"),
        choices_count=choices_count,
    )
    return ask, stream, with_usage
