"""A usage block → Usage. Pure; decodes only the fields that matter.

Two shapes (upstage-api.md sections 3–5, 2026-11-23): chat and embeddings say `prompt_tokens`, `completion_tokens` (reasoning inside)
and `prompt_tokens_details.cached_tokens`; both details objects are optional and may be null. Cached tokens are part of the prompt, so
they are taken off it once (traps.md 47, 48).
Errors: none; a block that makes no sense gives None, and the caller estimates.
"""

from __future__ import annotations

from typing import Any

import msgspec

from billing.usage import Usage


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = 0


class _UsageBlock(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int | None = 0
    prompt_tokens_details: _PromptDetails | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class Answer(msgspec.Struct):
    """The fields of an answer, or of one event of a stream, that metering looks at."""

    model: str | None = None
    usage: _UsageBlock | None = None
    choices: list[_Choice] | None = None
    error: Any = None  # of whatever shape: that there is one ends a stream


_decode = msgspec.json.Decoder(Answer).decode
_COUNT_MAX = 2**31 - 1
"""What a column of the ledger holds; no model has read or written so many tokens in one call."""


def read_answer(body: bytes) -> Answer | None:
    """The metered fields of a JSON object, or None where it is not one."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def usage_of(answer: Answer | None) -> Usage | None:
    """What an answer says it used, or None where it does not say."""
    block = None if answer is None else answer.usage
    if block is None:
        return None
    cached = (block.prompt_tokens_details.cached_tokens or 0) if block.prompt_tokens_details else 0
    output = block.completion_tokens or 0
    if min(cached, output) < 0 or cached > block.prompt_tokens or max(block.prompt_tokens, output) > _COUNT_MAX:
        return None
    return Usage(block.prompt_tokens - cached, cached, output)
