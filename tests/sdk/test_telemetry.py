"""Spans of calls, by the real OpenTelemetry SDK: GenAI names, counts with the cached tokens, no prompt and no key."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from solar_sdk import RateLimitError, Solar, StreamInterruptedError
from solar_sdk.telemetry import Spans

from .answers import PRICE_HEADERS, SNAPSHOT, TALE, completion, page
from .conftest import KEY
from .true_server import CALL_ID, TrueServer, error, stream, whole


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traced(server: TrueServer, exporter: InMemorySpanExporter) -> Iterator[Solar]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with Solar(KEY, server.base_url, observers=[Spans(provider.get_tracer("test"))]) as client:
        yield client


@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_is_one_span_with_its_model_tokens_and_cost(
    server: TrueServer, traced: Solar, exporter: InMemorySpanExporter, streamed: bool
) -> None:
    server.play(stream(TALE) if streamed else whole(completion(), headers=PRICE_HEADERS))
    if streamed:
        list(traced.chat("비밀 질문", stream=True))
    else:
        traced.chat("비밀 질문")
    [span] = exporter.get_finished_spans()
    assert span.name == "chat solar-pro4"
    attributes = dict(span.attributes or {})
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "upstage",
        "gen_ai.request.model": "solar-pro4",
        "gen_ai.response.model": SNAPSHOT,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 30,
        "gen_ai.usage.cache_read.input_tokens": 10,
        "gen_ai.usage.output_tokens": 12,
        "solar.stream": streamed,
        "solar.call_id": CALL_ID,
        "solar.cost": "0.00012345",
        "solar.currency": "USD",
    }
    assert "비밀" not in span.to_json()
    assert KEY not in span.to_json()


def test_a_retried_call_is_one_span_and_a_failed_one_says_why(
    server: TrueServer, traced: Solar, exporter: InMemorySpanExporter
) -> None:
    server.play(error(429, "rate_limit_exceeded", {"retry-after": "0"}), whole(completion()))
    traced.chat("?")
    server.play(error(429, "rate_limit_exceeded"), stream(TALE[:2], b"0\r\n\r\n"), whole(page()))
    with pytest.raises(RateLimitError):
        traced.chat("?", max_retries=0)
    with pytest.raises(StreamInterruptedError):
        list(traced.chat("?", stream=True))
    traced.models()  # buys nothing: no span
    spans = exporter.get_finished_spans()
    assert [(span.attributes or {}).get("error.type") for span in spans] == [None, "rate_limit_exceeded", "stream_cut"]
