"""A usage block → Usage. Pure; decodes only the fields that matter.

Each wire format has its own words (upstage-api.md sections 2–5, 2026-11-23). Chat and embeddings: `prompt_tokens`, of which
`prompt_tokens_details.cached_tokens`; `completion_tokens`, reasoning inside. Responses: `input_tokens`, of which
`input_tokens_details.cached_tokens`. Messages: `input_tokens` without the cached ones, `cache_read_input_tokens` beside them. Documents:
`pages`, and the page numbers by mode. Cached tokens are taken off once (traps.md 47, 48); details are optional and may be null.
Errors: none; a block that makes no sense gives None, and the caller estimates.
"""

from __future__ import annotations

from typing import Any

import msgspec

from billing.usage import Usage

_COUNT_MAX = 2**31 - 1
"""What a column of the ledger holds; no model has read or written so many tokens in one call."""


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class UsageBlock(msgspec.Struct, gc=False):
    """The fields of all formats' usage blocks that metering looks at."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    pages: int | None = None
    standard: list[Any] | None = None
    enhanced: list[Any] | None = None

    def joined_with(self, later: UsageBlock) -> UsageBlock:
        """What is known after a later block of the same stream: its fields, and where it is silent ours."""
        names = UsageBlock.__struct_fields__
        return UsageBlock(
            *(ours if (its := getattr(later, n)) is None else its for n in names for ours in (getattr(self, n),))
        )


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None


class _Inner(msgspec.Struct, gc=False):
    """The `response` of a responses event, the `message` of a message_start."""

    model: str | None = None
    usage: UsageBlock | None = None


class Answer(msgspec.Struct, gc=False):
    """The fields of an answer, or of one event of a stream, that metering looks at."""

    type: str | None = None
    model: str | None = None
    usage: UsageBlock | None = None
    choices: list[_Choice] | None = None
    response: _Inner | None = None
    message: _Inner | str | None = None
    billed_pages: int | None = msgspec.field(default=None, name="numBilledPages")
    error: Any = None  # of whatever shape: that there is one ends a stream


_decode = msgspec.json.Decoder(Answer).decode


def read_answer(body: bytes) -> Answer | None:
    """The metered fields of a JSON object, or None where it is not one."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def chat_usage(block: UsageBlock) -> Usage | None:
    """Chat completions and embeddings."""
    cached = (block.prompt_tokens_details.cached_tokens or 0) if block.prompt_tokens_details else 0
    return _usage(block.prompt_tokens, cached, block.completion_tokens)


def responses_usage(block: UsageBlock) -> Usage | None:
    """Responses, and Solar Decide (which has no details)."""
    cached = (block.input_tokens_details.cached_tokens or 0) if block.input_tokens_details else 0
    return _usage(block.input_tokens, cached, block.output_tokens)


def messages_usage(block: UsageBlock) -> Usage | None:
    """Anthropic's messages: the cached tokens stand beside the input, not inside it."""
    if block.input_tokens is None:
        return None
    cached = block.cache_read_input_tokens or 0
    whole = block.input_tokens + (block.cache_creation_input_tokens or 0) + cached
    return _usage(whole, cached, block.output_tokens)


def pages_usage(block: UsageBlock) -> Usage | None:
    """Documents: by mode where the page numbers are listed, else all as standard."""
    listed = block.standard is not None or block.enhanced is not None
    standard = len(block.standard or ()) if listed else block.pages
    enhanced = len(block.enhanced or ())
    if standard is None or not 0 <= standard <= _COUNT_MAX or enhanced > _COUNT_MAX:
        return None
    return Usage(standard_pages=standard, enhanced_pages=enhanced)


def _usage(prompt: int | None, cached: int, output: int | None) -> Usage | None:
    output = output or 0
    if prompt is None or min(cached, output) < 0 or cached > prompt or max(prompt, output) > _COUNT_MAX:
        return None
    return Usage(prompt - cached, cached, output)
