"""The wire formats of answers, as values: where usage stands, what ends a stream, what a client is told when one breaks. Pure.

Sources: upstage-api.md sections 3–5 (2026-11-23); OpenAI's and Anthropic's published event names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from billing.usage import Usage
from gateway.meter.count import Answer, UsageBlock, chat_usage, messages_usage, pages_usage, responses_usage

_NEVER = re.compile(rb"(?!)")
_CHAT_TEXT = re.compile(rb'"(?:content|reasoning|arguments)"\s*:\s*"((?:[^"\\]|\\.)+)"')
_RESPONSES_TEXT = re.compile(rb'"delta"\s*:\s*"((?:[^"\\]|\\.)+)"')
_MESSAGES_TEXT = re.compile(rb'"(?:text|thinking|partial_json)"\s*:\s*"((?:[^"\\]|\\.)+)"')


@dataclass(frozen=True, slots=True)
class Look:
    """What one event of a stream means for the meter."""

    block: UsageBlock | None = None
    is_usage: bool = False
    """It is the usage event: it waits for the settlement."""
    ends: bool = False
    fails: bool = False


@dataclass(frozen=True, slots=True)
class Wire:
    """One wire format."""

    name: str
    usage_of: Callable[[UsageBlock], Usage | None]
    look: Callable[[Answer], Look]
    markers: tuple[bytes, ...] = ()
    """An event without any of these says nothing about usage, an end or an error, and is not decoded."""
    text: re.Pattern[bytes] = _NEVER
    """What a model wrote, in an event: for the count of a stream that breaks off before its usage comes."""
    finished: re.Pattern[bytes] = _NEVER
    idle: re.Pattern[bytes] = _NEVER
    """A keep-alive that is an event with data: it does not overtake the usage event."""
    usage_is_native: bool = True
    """Usage is part of the format, asked for or not: its event always carries the cost."""


def _look_chat(answer: Answer) -> Look:
    if answer.error is not None and answer.choices is None:
        return Look(fails=True)
    is_usage = answer.usage is not None and chat_usage(answer.usage) is not None
    return Look(answer.usage if is_usage else None, is_usage=is_usage)


def _look_responses(answer: Answer) -> Look:
    if answer.type == "error" or (answer.error is not None and answer.response is None):
        return Look(fails=True)
    if answer.type in ("response.completed", "response.incomplete", "response.failed"):
        block = answer.response.usage if answer.response else None
        return Look(block, is_usage=True, ends=True)
    return Look()


def _look_messages(answer: Answer) -> Look:
    if answer.type == "error" or answer.error is not None:
        return Look(fails=True)
    if answer.type == "message_start" and not isinstance(answer.message, str) and answer.message is not None:
        return Look(answer.message.usage)
    if answer.type == "message_delta":
        return Look(answer.usage, is_usage=answer.usage is not None)
    return Look(ends=answer.type == "message_stop")


def _look_whole(_: Answer) -> Look:
    return Look()


CHAT_WIRE = Wire(
    "openai",
    chat_usage,
    _look_chat,
    markers=(b'"usage"', b'"error"'),
    text=_CHAT_TEXT,
    finished=re.compile(rb'"finish_reason"\s*:\s*"'),
    usage_is_native=False,
)
RESPONSES_WIRE = Wire(
    "responses",
    responses_usage,
    _look_responses,
    markers=(b"response.completed", b"response.incomplete", b"response.failed", b'"error"'),
    text=_RESPONSES_TEXT,
)
MESSAGES_WIRE = Wire(
    "anthropic",
    messages_usage,
    _look_messages,
    markers=(b"message_start", b"message_delta", b"message_stop", b'"error"'),
    text=_MESSAGES_TEXT,
    finished=re.compile(rb'"stop_reason"\s*:\s*"'),
    idle=re.compile(rb'"type"\s*:\s*"ping"'),
)
EMBEDDINGS_WIRE = Wire("openai", chat_usage, _look_whole)
DECIDE_WIRE = Wire("openai", responses_usage, _look_whole)
PAGES_WIRE = Wire("openai", pages_usage, _look_whole)
