"""Traces of the gateway: off unless asked for; then two spans a call with the GenAI names, under the caller's, and on to upstream."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gateway.traces import open_traces
from tests.running import Gateway
from tests.waiting import wait_until

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "vendor=1"}
SECRET_WORDS = "a planted prompt 안녕"
HI = {"model": "solar-pro4", "messages": [{"role": "user", "content": SECRET_WORDS}], "max_tokens": 50}


class Collector:
    """A small OTLP receiver, and a plain upstream that only remembers the headers it was sent."""

    def __init__(self) -> None:
        collector = self
        self.raw: list[bytes] = []
        self.asked: list[dict[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # http.server's own name
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/v1/traces":
                    collector.raw.append(body)
                    answer = b""
                else:
                    collector.asked.append({name.lower(): value for name, value in self.headers.items()})
                    answer = ANSWER
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self) -> list[Any]:
        requests = [ExportTraceServiceRequest.FromString(raw) for raw in self.raw]
        return [s for request in requests for r in request.resource_spans for o in r.scope_spans for s in o.spans]


ANSWER = (
    b'{"id":"x","object":"chat.completion","model":"solar-pro4-260806","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"answered words"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":5,"total_tokens":17,'
    b'"prompt_tokens_details":{"cached_tokens":4}}}'
)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    opened = Collector()
    yield opened
    opened.server.shutdown()


@pytest.fixture(scope="module")
def traced(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    environment = {
        "GATEWAY_TRACES_URL": f"{collector.url}/v1/traces",
        "GATEWAY_UPSTREAM_URL": f"{collector.url}/upstream",
        "GATEWAY_UPSTREAM_KEYS": "up_of_the_test",
    }
    with Gateway.started(tmp_path_factory.mktemp("traced"), environment=environment) as gateway:
        yield gateway


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def test_a_call_is_two_spans_under_the_callers_and_its_context_goes_on_to_upstream(
    traced: Gateway, collector: Collector
) -> None:
    secret = traced.new_key()
    with traced.caller(secret, headers=PARENT) as client:
        answer = client.post("/chat/completions", json=HI)
    assert answer.is_success, answer.text
    spans = wait_until(
        lambda: [s for s in collector.spans() if s.trace_id.hex() == TRACE][1:] and collector.spans(), 20, "spans"
    )
    server, model = sorted((s for s in spans if s.trace_id.hex() == TRACE), key=lambda s: s.kind)
    assert (server.name, model.name) == ("POST /v1/chat/completions", "chat solar-pro4")
    assert (server.parent_span_id.hex(), model.parent_span_id) == (CALLER, server.span_id)
    assert (
        server.start_time_unix_nano
        <= model.start_time_unix_nano
        < model.end_time_unix_nano
        <= server.end_time_unix_nano
    )
    assert attributes(server)["solar.call_id"] == answer.headers["x-request-id"]
    assert attributes(model) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "upstage",
        "gen_ai.request.model": "solar-pro4",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.output_tokens": 5,
    }
    assert collector.asked[-1]["traceparent"] == f"00-{TRACE}-{model.span_id.hex()}-01"
    exported = b"".join(collector.raw)
    for planted in (SECRET_WORDS, "answered words", secret, "up_of_the_test", traced.operator_token):
        assert planted.encode() not in exported


def test_a_context_that_is_none_begins_a_trace_of_its_own_and_a_refusal_says_why(
    traced: Gateway, collector: Collector
) -> None:
    with traced.caller(traced.new_key(), headers={"traceparent": "00-zz-1-01"}) as client:
        assert client.post("/chat/completions", json={**HI, "model": "no-such"}).status_code == 404

    def refused() -> list[Any]:
        return [s for s in collector.spans() if attributes(s).get("error.type") == "model_not_found"]

    (span,) = wait_until(refused, 20, "the refused call's span")
    assert span.parent_span_id == b""


def test_nothing_of_it_is_loaded_where_it_is_not_asked_for() -> None:
    # redis-py loads OpenTelemetry's names by itself, where they are installed: what sends spans is loaded by us alone.
    program = "import sys, gateway.app as a; print([n for n in sys.modules if n.startswith('opentelemetry.exporter')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
    assert open_traces(None, 1.0) is None


def test_traces_without_their_packages_are_refused_in_one_line() -> None:
    program = "import sys; sys.modules['opentelemetry.sdk.trace'] = None; from gateway.traces import *; check_traces('http://x')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert "pip install 'solar-gateway[traces]'" in done.stderr.splitlines()[-1]
