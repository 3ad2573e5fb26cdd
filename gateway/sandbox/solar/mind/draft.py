"""Decides what the simulated model says, the same for every wire format: Ask in, Draft out. Pure; unit: tokens.

The words are drawn from a digest of the request, Korean where the last user message holds Hangul, each exactly one token.
What decides, in this order: a tool call (tool_choice required or a function; or auto and the user writes "use the tool"),
a JSON value for the schema, words. Without `tokens=N` an answer has 16 to 79 tokens; `max_tokens` cuts (finish `length`).
Reasoning comes first, inside the same limit: if it takes all, there is no content (null), as upstage-api.md section 0.6 has it.
Cached prompt tokens: `cached=N`, else with a prompt_cache_key floor(prompt / 2 / 64) × 64, else 0.
Raises Refusal (400) if prompt and max_tokens together pass the model's window.
"""

import re
from dataclasses import dataclass, field
from hashlib import shake_128
from typing import Any

import msgspec

from gateway.sandbox.solar.call import Usage
from gateway.sandbox.solar.directives import Steer
from gateway.sandbox.solar.mind.models import ChatModel
from gateway.sandbox.solar.mind.schemas import value_for
from gateway.sandbox.solar.mind.tokens import TOOL_CALL_TOKENS, count, split
from gateway.sandbox.solar.refusals import INVALID_BODY, Refusal

TOOL_WISH = "use the tool"
_CACHE_BLOCK_TOKENS = 64
_HANGUL = re.compile("[가-힣]")
_KOREAN = [
    "솔라",
    "모델",
    "토큰",
    "요금",
    "사용",
    "정산",
    "계약",
    "파트",
    "언어",
    "한국",
    "자료",
    "학습",
    "응답",
    "질문",
    "정확",
    "시간",
    "결과",
    "문장",
    "단어",
    "의미",
    "설명",
    "예시",
    "방법",
    "과정",
    "조건",
    "기준",
    "내용",
    "확인",
    "처리",
    "기록",
    "합계",
    "할인",
]
_ENGLISH = [
    "the",
    "a",
    "sun",
    "star",
    "word",
    "data",
    "code",
    "path",
    "step",
    "note",
    "plan",
    "call",
    "cost",
    "sum",
    "unit",
    "page",
    "line",
    "text",
    "key",
    "rate",
    "bill",
    "day",
    "hour",
    "path",
    "room",
    "door",
    "wall",
    "lamp",
    "road",
    "tree",
    "fish",
    "bird",
]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call."""

    name: str
    parameters: dict[str, Any]


@dataclass(slots=True)
class Ask:
    """A request of any wire format. `tool_mode`: auto, none, required, or a function's name after `function:`."""

    model: ChatModel
    seed: bytes
    prompt_tokens: int
    last_text: str
    steer: Steer
    limit_tokens: int | None = None
    reasoning_on: bool = False
    tools: list[Tool] = field(default_factory=list)
    tool_mode: str = "auto"
    parallel: bool = True
    schema: dict[str, Any] | None = None
    stops: list[str] = field(default_factory=list)
    cache_key: str | None = None
    choices_count: int = 1
    overflow_code: str = INVALID_BODY


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model makes; the argument pieces join to JSON."""

    id: str
    name: str
    pieces: list[str]

    @property
    def arguments(self) -> str:
        """The arguments as JSON text."""
        return "".join(self.pieces)

    @property
    def tokens(self) -> int:
        """What it costs."""
        return TOOL_CALL_TOKENS + count(self.name) + len(self.pieces)


@dataclass(frozen=True, slots=True)
class Draft:
    """What the model says. `content` None: nothing (tool calls, or reasoning took all)."""

    reasoning: list[str]
    content: list[str] | None
    calls: list[ToolCall]
    finish: str

    @property
    def text(self) -> str | None:
        """The visible text."""
        return None if self.content is None else "".join(self.content)

    @property
    def tokens(self) -> int:
        """All output tokens, reasoning inside."""
        return len(self.reasoning) + len(self.content or ()) + sum(call.tokens for call in self.calls)


def _words(seed: bytes, tokens_count: int, vocabulary: list[str]) -> list[str]:
    drawn = shake_128(seed).digest(tokens_count)
    words = [" " + vocabulary[byte & 31] for byte in drawn]
    if words:
        words[0] = words[0][1:]
    return words


def _limit_tokens(ask: Ask) -> int:
    window, wanted = ask.model.context_tokens, ask.limit_tokens
    if ask.prompt_tokens + (wanted or 1) > window:
        text = (
            f"This model's maximum context length is {window} tokens. However, you requested "
            f"{ask.prompt_tokens + (wanted or 1)} tokens ({ask.prompt_tokens} in the messages, {wanted or 1} in the completion)."
        )
        raise Refusal(400, ask.overflow_code, text, param="max_tokens")
    highest = min(ask.model.output_tokens_max, window - ask.prompt_tokens)
    return highest if wanted is None else min(wanted, highest)


def _reasoning(ask: Ask, seed: bytes) -> list[str]:
    if not ask.model.can_reason:
        return []
    asked = ask.steer.reasoning
    if asked is None:
        asked = 8 + seed[1] % 24 if ask.reasoning_on else 0
    return _words(seed + b"reasoning", asked, _ENGLISH) if asked else []


def _called_tools(ask: Ask) -> list[Tool]:
    if not ask.tools or ask.tool_mode == "none":
        return []
    if ask.tool_mode.startswith("function:"):
        return [tool for tool in ask.tools if tool.name == ask.tool_mode.removeprefix("function:")]
    if ask.tool_mode == "required" or TOOL_WISH in ask.last_text.lower():
        return ask.tools[: 2 if ask.parallel else 1]
    return []


def _call(tool: Tool, seed: bytes, number: int) -> ToolCall:
    seed = seed + bytes([number])
    arguments = value_for(tool.parameters, seed) if tool.parameters else {}
    text = msgspec.json.encode(arguments if isinstance(arguments, dict) else {}).decode()
    return ToolCall(f"call_{shake_128(seed).hexdigest(12)}", tool.name, split(text))


def _content(ask: Ask, seed: bytes) -> list[str]:
    if ask.schema is not None:
        return split(msgspec.json.encode(value_for(ask.schema, seed)).decode())
    wanted = ask.steer.tokens
    pieces = _words(
        seed, 16 + seed[0] % 64 if wanted is None else wanted, _KOREAN if _HANGUL.search(ask.last_text) else _ENGLISH
    )
    if not ask.stops:
        return pieces
    text = "".join(pieces)
    ends = [text.find(stop) for stop in ask.stops]
    return split(text[: min((end for end in ends if end >= 0), default=len(text))])


def _fit_calls(calls: list[ToolCall], room_tokens: int) -> tuple[list[ToolCall], bool]:
    fitting: list[ToolCall] = []
    for call in calls:
        spare = room_tokens - call.tokens
        if spare < 0:
            kept = call.pieces[: max(0, len(call.pieces) + spare)]
            if kept:
                fitting.append(ToolCall(call.id, call.name, kept))
            return fitting, True
        fitting.append(call)
        room_tokens = spare
    return fitting, False


def _draft_one(ask: Ask, seed: bytes, limit_tokens: int) -> Draft:
    reasoning = _reasoning(ask, seed)
    room_tokens = limit_tokens - len(reasoning)
    if room_tokens <= 0:
        return Draft(reasoning[:limit_tokens], None, [], "length")
    if tools := _called_tools(ask):
        calls, cut = _fit_calls([_call(tool, seed, number) for number, tool in enumerate(tools)], room_tokens)
        return Draft(reasoning, None, calls, "length" if cut else "tool_calls")
    content = _content(ask, seed)
    return Draft(reasoning, content[:room_tokens], [], "length" if len(content) > room_tokens else "stop")


def draft_answers(ask: Ask) -> tuple[list[Draft], Usage]:
    """Every choice the request asked for, and what they cost together."""
    limit_tokens = _limit_tokens(ask)
    drafts = [_draft_one(ask, ask.seed + bytes([number]), limit_tokens) for number in range(ask.choices_count)]
    cached = ask.steer.cached
    if cached is None:
        cached = ask.prompt_tokens // 2 // _CACHE_BLOCK_TOKENS * _CACHE_BLOCK_TOKENS if ask.cache_key else 0
    usage = Usage(
        prompt=ask.prompt_tokens,
        cached=min(cached, ask.prompt_tokens),
        completion=sum(draft.tokens for draft in drafts),
        reasoning=sum(len(draft.reasoning) for draft in drafts),
    )
    return drafts, usage
