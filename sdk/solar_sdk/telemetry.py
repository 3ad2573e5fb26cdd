"""OpenTelemetry spans of calls, with the GenAI attribute names: `Solar(observers=[Spans(tracer)])`.

The tracer is the caller's (`opentelemetry.trace.get_tracer("…")`); nothing of OpenTelemetry is imported here. Names as in the semantic
conventions for generative AI (https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans, read 2026-11): `gen_ai.usage.input_tokens`
includes the cached tokens there, which `Usage.input_tokens` leaves out. Cost and currency are ours: `solar.cost` (text, exact).
"""

from collections.abc import Mapping
from typing import Any, Protocol

from .core.observing import CallFacts
from .errors import SolarError

_OPERATIONS: Mapping[str, str] = {
    "/chat/completions": "chat",
    "/responses": "chat",
    "/embeddings": "embeddings",
    "/information-extraction": "chat",
}
_Attributes = Mapping[str, str | int | bool | tuple[str, ...]]


class Tracer(Protocol):
    """As much of OpenTelemetry's tracer as is used."""

    def start_span(self, name: str, /) -> Any: ...


class Spans:
    """Makes one span of each call that buys something: its name, its model, its tokens, what it cost, how it ended."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def begun(self, path: str, model: str | None, stream: bool) -> Any:
        if model is None:
            return None
        operation = _OPERATIONS.get(path, path.strip("/").replace("-", "_"))
        span = self._tracer.start_span(f"{operation} {model}")
        asked = {"gen_ai.operation.name": operation, "gen_ai.provider.name": "upstage", "gen_ai.request.model": model}
        _set(span, {**asked, "solar.stream": stream})
        return span

    def answered(self, span: Any, facts: CallFacts) -> None:
        if span is not None:
            _set(span, _attributes(facts))

    def ended(self, span: Any, error: BaseException | None) -> None:
        if span is None:
            return
        if error is not None:
            code = error.code if isinstance(error, SolarError) else None
            _set(span, {"error.type": code or type(error).__name__})
        span.end()


def _attributes(facts: CallFacts) -> dict[str, str | int | tuple[str, ...]]:
    told: dict[str, str | int | tuple[str, ...] | None] = {
        "gen_ai.response.model": facts.model,
        "gen_ai.response.finish_reasons": None if facts.finish_reason is None else (facts.finish_reason,),
        "solar.call_id": facts.call_id,
        "solar.cost": None if facts.cost is None else str(facts.cost),
        "solar.currency": facts.currency,
    }
    if facts.usage is not None:
        told["gen_ai.usage.input_tokens"] = facts.usage.input_tokens + facts.usage.cached_input_tokens
        told["gen_ai.usage.cache_read.input_tokens"] = facts.usage.cached_input_tokens
        told["gen_ai.usage.output_tokens"] = facts.usage.output_tokens
    return {name: value for name, value in told.items() if value is not None}


def _set(span: Any, attributes: _Attributes) -> None:
    for name, value in attributes.items():
        span.set_attribute(name, value)
