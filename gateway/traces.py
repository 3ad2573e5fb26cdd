"""OpenTelemetry spans of the gateway's calls: off by default, and then nothing of it is loaded and a call pays one look at None.

Two spans a call: ours, of the request as a server (its parent is the caller's, by W3C `traceparent`), and below it the call of the model as
a client, with the GenAI names; its context goes on to upstream as `traceparent`. Ids and counts only: never a prompt, a completion or
a secret. Spans are made when a call has ended, from what the call's own line in the log says, and sent in batches by a thread of their own.
Sources, read 2026-11: opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans (`gen_ai.usage.input_tokens` includes the cached ones),
w3.org/TR/trace-context. Units: Unix nanoseconds, seconds. Errors: `TracesMissing`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

_OPERATIONS = {"/chat/completions": "chat", "/responses": "chat", "/messages": "chat", "/embeddings": "embeddings"}
_SPANS_WAITING_MAX = 8192
_MODULES = (
    "sdk.trace",
    "sdk.trace.export",
    "sdk.trace.sampling",
    "sdk.resources",
    "exporter.otlp.proto.http.trace_exporter",
)


class TracesMissing(RuntimeError):
    """The packages that traces need are not installed."""

    def __init__(self) -> None:
        super().__init__("GATEWAY_TRACES_URL needs more packages: pip install 'solar-gateway[traces]'")


class CallTrace:
    """The two spans of one call."""

    __slots__ = ("_accepted_ns", "_begun_s", "_model", "_server", "_traces")

    def __init__(self, traces: Traces, server: Any, accepted_ns: int, begun_s: float) -> None:
        self._traces = traces
        self._server = server
        self._accepted_ns = accepted_ns
        self._begun_s = begun_s
        self._model: Any = None

    def calls(self, path: str, model: str, at_s: float) -> bytes:
        """The model is about to be called; gives the header line that goes on to upstream. `at_s` on the clock of `begun_s`."""
        operation = _OPERATIONS.get(path, path.strip("/").replace("-", "_"))
        self._model = self._traces.model_span(self._server, operation, model, self._ns(at_s))
        return _to_wire_parent(self._model)

    def end(self, facts: Mapping[str, Any], answered_s: float, ended_s: float) -> None:
        """The call is over; `facts` is what its line in the log says, `answered_s` when upstream was done with it (0: never)."""
        failed = facts["outcome"] not in ("whole", "streamed", "replayed")
        error = facts["code"] or facts["outcome"] if failed else None
        if self._model is not None:
            _set(self._model, {**_usage(facts), "error.type": error})
            self._model.end(self._ns(answered_s or ended_s))
        named = ("call_id", "outcome", "account_id", "key_id", "estimated")
        _set(self._server, {**{f"solar.{name}": facts[name] for name in named}, "error.type": error})
        self._server.end(self._ns(ended_s))

    def _ns(self, at_s: float) -> int:
        return self._accepted_ns + int((at_s - self._begun_s) * 1e9)


class Traces:
    """Where spans come from."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._trace = importlib.import_module("opentelemetry.trace")
        propagation = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
        self._parent_in = propagation.TraceContextTextMapPropagator().extract
        self._tracer = provider.get_tracer("solar-gateway")

    def begin(
        self, parent: bytes | None, state: bytes | None, path: str, accepted_ns: int, begun_s: float
    ) -> CallTrace:
        """A call came in, with `traceparent` and `tracestate` as the caller sent them; what is none of these is passed over."""
        carrier = {"traceparent": parent, "tracestate": state}
        given = {name: value.decode("latin-1") for name, value in carrier.items() if value is not None}
        route = f"/v1{path}"
        attributes = {"http.request.method": "POST", "http.route": route}
        server = self._tracer.start_span(
            f"POST {route}",
            context=self._parent_in(given),
            kind=self._trace.SpanKind.SERVER,
            attributes=attributes,
            start_time=accepted_ns,
        )
        return CallTrace(self, server, accepted_ns, begun_s)

    def model_span(self, server: Any, operation: str, model: str, now_ns: int) -> Any:
        named = {"gen_ai.operation.name": operation, "gen_ai.provider.name": "upstage", "gen_ai.request.model": model}
        return self._tracer.start_span(
            f"{operation} {model}",
            context=self._trace.set_span_in_context(server),
            kind=self._trace.SpanKind.CLIENT,
            attributes=named,
            start_time=now_ns,
        )

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def _modules() -> list[Any]:
    try:
        return [importlib.import_module(f"opentelemetry.{name}") for name in _MODULES]
    except ImportError:
        raise TracesMissing from None


def check_traces(url: str | None) -> None:
    """Raises `TracesMissing` where traces are asked for and cannot be had."""
    if url is not None:
        _modules()


def open_traces(url: str | None, sample_ratio: float) -> Traces | None:
    """Spans to a collector's OTLP address (`http://collector:4318/v1/traces`); None where none is named."""
    if url is None:
        return None
    sdk, export, sampling, resources, otlp = _modules()
    provider = sdk.TracerProvider(
        resource=resources.Resource.create({"service.name": "solar-gateway"}),
        # Who asks with a sampled context is traced; of the others, so many.
        sampler=sampling.ParentBased(sampling.TraceIdRatioBased(sample_ratio)),
        shutdown_on_exit=False,
    )
    exporter = otlp.OTLPSpanExporter(endpoint=url, timeout=5)
    provider.add_span_processor(export.BatchSpanProcessor(exporter, max_queue_size=_SPANS_WAITING_MAX))
    return Traces(provider)


def _to_wire_parent(span: Any) -> bytes:
    context = span.get_span_context()
    return b"traceparent: 00-%032x-%016x-%02x\r\n" % (context.trace_id, context.span_id, int(context.trace_flags))


def _usage(facts: Mapping[str, Any]) -> dict[str, Any]:
    if not facts["output_tokens"] and not facts["input_tokens"]:
        return {}
    return {
        "gen_ai.usage.input_tokens": facts["input_tokens"] + facts["cached_input_tokens"],
        "gen_ai.usage.cache_read.input_tokens": facts["cached_input_tokens"],
        "gen_ai.usage.output_tokens": facts["output_tokens"],
    }


def _set(span: Any, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        if value is not None:
            span.set_attribute(name, value)
