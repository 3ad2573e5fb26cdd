"""What is told to those who watch calls (tracing, logging): that one began, what it came to, how it ended.

An observer learns names, counts and prices; never a prompt, an answer or a key. What it raises reaches whoever made the call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from ..answers.completions import ChatCompletion
from ..answers.replies import Document, Embeddings, Parsed, Reply, ResponseReply, Usage


@dataclass(frozen=True)
class CallFacts:
    """What an answered call came to. Tokens as in `Usage`: `input_tokens` leaves the cached ones out."""

    model: str | None
    usage: Usage | None
    cost: Decimal | None
    currency: str | None
    call_id: str | None
    finish_reason: str | None = None


class Observer(Protocol):
    """Watches calls. `begun` gives a token of its own, which the other two get back."""

    def begun(self, path: str, model: str | None, stream: bool) -> Any: ...
    def answered(self, token: Any, facts: CallFacts) -> None: ...
    def ended(self, token: Any, error: BaseException | None) -> None: ...


class Observers:
    """Those who watch one call."""

    def __init__(self, observers: Sequence[Observer], path: str, model: str | None, stream: bool) -> None:
        self._tokens = [(each, each.begun(path, model, stream)) for each in observers]
        self._over = False

    def answered(self, facts: CallFacts | None) -> None:
        for each, token in self._tokens:
            if facts is not None:
                each.answered(token, facts)

    def ended(self, error: BaseException | None) -> None:
        if self._over:
            return
        self._over = True
        for each, token in self._tokens:
            each.ended(token, error)


def facts_of(result: object) -> CallFacts | None:
    """What a typed answer tells; None where nothing was bought."""
    if isinstance(result, Parsed):
        result = result.reply
    if isinstance(result, Reply):
        ids = (result.call_id, result.finish_reason)
        return CallFacts(result.model, result.usage, result.cost, result.currency, *ids)
    if isinstance(result, ResponseReply | Embeddings):
        return CallFacts(result.model, result.usage, result.cost, result.currency, result.call_id)
    if isinstance(result, Document):
        return CallFacts(result.model, Usage(), result.cost, result.currency, result.call_id)
    if isinstance(result, ChatCompletion):
        told, usage = result.usage, None
        if told is not None:
            cached = told.prompt_tokens_details.cached_tokens if told.prompt_tokens_details else 0
            reasoning = told.completion_tokens_details.reasoning_tokens if told.completion_tokens_details else 0
            usage = Usage(told.prompt_tokens - cached, cached, told.completion_tokens, reasoning)
        reason = result.choices[0].finish_reason if result.choices else None
        return CallFacts(result.model, usage, result.cost, result.currency, result.call_id, reason)
    return None
