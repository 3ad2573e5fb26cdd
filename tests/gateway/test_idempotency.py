"""`Idempotency-Key` as a caller sees it (design.md section 3), over both doors and on every metered endpoint."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import httpx
import psutil
import pytest

from tests.gateway.test_endpoints import DECIDE, EXTRACTION, MESSAGES, RESPONSES
from tests.running import Gateway
from tests.waiting import wait_until

_numbers = itertools.count()
SLOW_STREAM = "tokens=60 pace_ms=25"


@pytest.fixture
def gateway(either_door: Gateway) -> Gateway:
    """Every test here runs over both doors, unless it says otherwise."""
    return either_door


@pytest.fixture
def caller(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.caller(gateway.new_key()) as client:
        yield client


def new_label() -> str:
    return f"idem-{next(_numbers)}"


def chat(words: str, **fields: Any) -> dict[str, Any]:
    return {"model": "solar-pro4", "messages": [{"role": "user", "content": f"[[sim: {words}]] 안녕?"}], **fields}


def post(caller: httpx.Client, body: dict[str, Any], key: str, path: str = "/chat/completions") -> httpx.Response:
    return caller.post(path, json=body, headers={"idempotency-key": key})


def total_of(caller: httpx.Client) -> Any:
    return caller.get("/usage").json()["total"]


def served(gateway: Gateway, label: str) -> list[dict[str, Any]]:
    return [row for row in gateway.truth() if row["id"] == label]


def until_told(caller: httpx.Client, body: dict[str, Any], key: str) -> httpx.Response:
    """Ask again until the first call has ended, or its worker is replaced and its lease over."""

    def told() -> httpx.Response | None:
        try:
            answer = post(caller, body, key)
        except httpx.TransportError:
            return None
        running = answer.status_code == 409 and answer.json()["error"]["code"] == "idempotency_in_progress"
        return None if running else answer

    return wait_until(told, 90, "the call has ended")


def same_answer(first: httpx.Response, again: httpx.Response) -> None:
    assert again.headers["x-solar-replayed"] == "true"
    assert "x-solar-replayed" not in first.headers
    assert (again.status_code, again.content) == (first.status_code, first.content)
    own = {"date", "x-solar-replayed", "transfer-encoding"}
    assert {k: v for k, v in again.headers.items() if k not in own} == {
        k: v for k, v in first.headers.items() if k not in own
    }


ENDPOINTS = [
    ("/chat/completions", chat("tokens=9 cached=2")),
    ("/chat/completions", chat("tokens=9", stream=True, stream_options={"include_usage": True})),
    ("/solar/chat/completions", chat("tokens=9", stream=True)),
    ("/responses", RESPONSES),
    ("/responses", {**RESPONSES, "stream": True}),
    ("/messages", MESSAGES),
    ("/messages", {**MESSAGES, "stream": True}),
    ("/embeddings", {"model": "embedding-query", "input": ["가", "나"]}),
    ("/systemone", DECIDE),
    ("/information-extraction", EXTRACTION),
]


@pytest.mark.parametrize(("path", "body"), ENDPOINTS)
def test_the_same_request_gets_the_same_bytes_and_headers_and_is_one_call(
    gateway: Gateway, caller: httpx.Client, path: str, body: dict[str, Any]
) -> None:
    before = len(gateway.truth())
    first = post(caller, body, "order 7", path)
    assert first.status_code == 200, first.text
    again = [post(caller, body, "order 7", path) for _ in range(3)]
    for answer in again:
        same_answer(first, answer)
    assert len(gateway.truth()) == before + 1
    assert total_of(caller)["calls"] == 1


def test_a_document_sent_again_in_a_form_with_another_boundary_is_the_same_request(
    gateway: Gateway, caller: httpx.Client
) -> None:
    def send(content: bytes) -> httpx.Response:
        return caller.post(
            "/document-digitization",
            data={"model": "document-parse"},
            files={"document": ("a.pdf", content, "application/pdf")},
            headers={"idempotency-key": "page-1"},
        )

    first, again, other = send(b"[[sim: pages=2]]"), send(b"[[sim: pages=2]]"), send(b"[[sim: pages=3]]")
    assert first.status_code == 200, first.text
    assert first.request.headers["content-type"] != again.request.headers["content-type"]
    same_answer(first, again)
    assert other.json()["error"]["code"] == "idempotency_mismatch"
    assert (total_of(caller)["calls"], total_of(caller)["pages"]) == (1, 2)


def test_a_replay_counts_against_no_limit_and_no_cap(gateway: Gateway) -> None:
    account = gateway.account(monthly_cap="1.00", limits={"requests_per_minute": 2, "concurrency": 1})
    with gateway.caller(gateway.key(account["id"])) as caller:
        first = post(caller, chat("tokens=5"), "a")
        for _ in range(5):
            same_answer(first, post(caller, chat("tokens=5"), "a"))
        second = post(caller, chat("tokens=6"), "b")
        assert second.headers["x-ratelimit-remaining-requests"] == "0"
        refused = post(caller, chat("tokens=7"), "c")
        month = caller.get("/account").json()["month_to_date"]
    assert (second.status_code, refused.status_code) == (200, 429)
    assert float(month["cost"]) == float(first.headers["x-solar-cost"]) + float(second.headers["x-solar-cost"])
    assert float(month["held"]) == 0


def test_while_the_first_runs_the_second_is_told_to_come_back_and_then_gets_the_first_ones_answer(
    gateway: Gateway, caller: httpx.Client
) -> None:
    label = new_label()
    for number, body in enumerate([chat(f"id={label} delay_ms=1500"), chat(f"id={label} {SLOW_STREAM}", stream=True)]):
        key = f"slow-{number}"
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(post, caller, body, key)
            wait_until(lambda: gateway.in_flight() > 0, 10, "upstream has the call")
            refused = post(caller, body, key)
            other = post(caller, {**body, "max_tokens": 3}, key)
            first = running.result()
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_in_progress")
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["x-request-id"] == first.headers["x-request-id"]
        assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")
        same_answer(first, post(caller, body, key))
    assert len(served(gateway, label)) == 2
    assert total_of(caller)["calls"] == 2


def test_a_hundred_at_once_are_one_call(gateway: Gateway, caller: httpx.Client) -> None:
    label = new_label()
    body = chat(f"id={label} delay_ms=300 tokens=8")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(caller, body, "many"), range(100)))
    codes = {answer.status_code for answer in answers}
    assert codes <= {200, 409}
    bodies = {answer.content for answer in answers if answer.status_code == 200}
    assert len(bodies) == 1
    assert len(served(gateway, label)) == 1
    assert total_of(caller)["calls"] == 1


def test_a_client_that_hangs_up_on_a_stream_gets_the_whole_of_it_by_asking_again(
    gateway: Gateway, caller: httpx.Client
) -> None:
    label = new_label()
    body = chat(f"id={label} {SLOW_STREAM}", stream=True, stream_options={"include_usage": True})
    with caller.stream("POST", "/chat/completions", json=body, headers={"idempotency-key": "gone"}) as answer:
        call_id = answer.headers["x-request-id"]
        for seen, _ in enumerate(answer.iter_lines()):
            if seen > 6:
                break
    assert post(caller, body, "gone").json()["error"]["code"] == "idempotency_in_progress"
    again = until_told(caller, body, "gone")
    assert (again.headers["x-request-id"], again.headers["x-solar-replayed"]) == (call_id, "true")
    assert again.text.endswith("data: [DONE]\n\n")
    assert '"cost"' in again.text
    (record,) = served(gateway, label)
    assert (record["outcome"], record["completion_tokens"]) == ("served", 60)
    total = total_of(caller)
    assert (total["calls"], total["output_tokens"], total["estimated_calls"]) == (1, 60, 0)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("error=400:invalid_request_body", 400),
        ("error=429:too_many_requests retry_after_s=60", 429),
        ("error=503", 503),
        ("drop=1", 502),
    ],
)
def test_a_refusal_or_a_failure_before_upstream_answered_frees_the_key(
    gateway: Gateway, caller: httpx.Client, words: str, status: int
) -> None:
    label = new_label()
    body = chat(f"id={label} {words}")
    for _ in range(3):
        refused = post(caller, body, "again")
        assert refused.status_code == status
        assert "x-solar-replayed" not in refused.headers
    assert len(served(gateway, label)) == (3 if words != "drop=1" else len(served(gateway, label)))
    good = post(caller, chat("tokens=4"), "again")
    assert good.status_code == 200
    assert total_of(caller)["calls"] == 1


def test_our_own_refusals_free_the_key_too(gateway: Gateway) -> None:
    account = gateway.account(monthly_cap="0.00")
    with gateway.caller(gateway.key(account["id"])) as caller:
        for _ in range(2):
            assert post(caller, chat("tokens=5"), "a").status_code == 402
        assert post(caller, {"model": "gpt-9"}, "a").status_code == 404
        gateway.operator.patch(f"/accounts/{account['id']}", json={"monthly_cap": "5.00"})
        assert post(caller, chat("tokens=5"), "a").status_code == 200


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_upstream_broke_off_is_the_same_broken_answer_again_and_is_not_asked_for_twice(
    gateway: Gateway, caller: httpx.Client, streamed: bool
) -> None:
    label = new_label()
    body = chat(f"id={label} tokens=30 cut_after={5 if streamed else 1}", stream=streamed)
    first, again = post(caller, body, "broken"), post(caller, body, "broken")
    same_answer(first, again)
    assert "upstream_interrupted" in first.text
    assert len(served(gateway, label)) == 1
    assert total_of(caller)["calls"] == (1 if streamed else 0)


def test_a_key_belongs_to_one_api_key_of_one_account(gateway: Gateway) -> None:
    account = gateway.account()
    secrets = [gateway.key(account["id"]), gateway.key(account["id"]), gateway.new_key()]
    for secret in secrets:
        with gateway.caller(secret) as caller:
            first = post(caller, chat("tokens=5"), "shared-name")
            assert first.status_code == 200
            assert "x-solar-replayed" not in first.headers


def test_one_key_for_another_endpoint_or_body_is_a_mismatch(gateway: Gateway, caller: httpx.Client) -> None:
    assert post(caller, chat("tokens=5"), "a").status_code == 200
    for path, body in (("/chat/completions", chat("tokens=6")), ("/embeddings", {"model": "x", "input": "y"})):
        refused = post(caller, body, "a", path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "idempotency_mismatch")
        assert refused.headers["x-should-retry"] == "false"
    assert post(caller, MESSAGES, "a", "/messages").json()["error"]["code"] == "idempotency_mismatch"
    assert total_of(caller)["calls"] == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "가", "a\tb"])
def test_a_key_that_cannot_be_one_is_refused(caller: httpx.Client, key: str) -> None:
    raw = {"idempotency-key": key.encode()}
    refused = caller.post("/chat/completions", json=chat("tokens=5"), headers=raw)  # type: ignore[arg-type]
    assert refused.status_code == 400, refused.text
    assert refused.json()["error"]["param"] == "Idempotency-Key"
    assert total_of(caller)["calls"] == 0


def test_a_long_key_is_fine_and_reading_ignores_it(caller: httpx.Client) -> None:
    key = "~" * 255
    first = post(caller, chat("tokens=5"), key)
    same_answer(first, post(caller, chat("tokens=5"), key))
    models = [caller.get("/models", headers={"idempotency-key": key}) for _ in range(2)]
    assert [m.status_code for m in models] == [200, 200]
    assert "x-solar-replayed" not in models[1].headers


def test_an_anthropic_client_sees_the_conflict_in_its_own_shape(gateway: Gateway) -> None:
    client = anthropic.Anthropic(api_key=gateway.new_key(), base_url=gateway.url, max_retries=0)
    ask: Any = {"model": "solar-pro4", "max_tokens": 16, "extra_headers": {"idempotency-key": "a"}}
    first = client.messages.create(messages=[{"role": "user", "content": "안녕?"}], **ask)
    again = client.messages.create(messages=[{"role": "user", "content": "안녕?"}], **ask)
    assert first.model_dump() == again.model_dump()
    with pytest.raises(anthropic.UnprocessableEntityError) as refused:
        client.messages.create(messages=[{"role": "user", "content": "잘 가"}], **ask)
    body: Any = refused.value.body
    assert (body["error"]["type"], body["error"]["code"]) == ("invalid_request_error", "idempotency_mismatch")


SHORT = {
    "GATEWAY_IDEMPOTENCY_REPLAY_S": "0.5",
    "GATEWAY_IDEMPOTENCY_LEASE_S": "1",
    "GATEWAY_IDEMPOTENCY_ANSWER_MAX_BYTES": "4000",
    "GATEWAY_HANG_UP": "finish",
}


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that keeps answers for half a second, claims of the dead for one, and nothing that is large."""
    with Gateway.started(tmp_path_factory.mktemp("forgetful"), workers=2, environment=SHORT) as running:
        yield running


def test_an_answer_that_is_no_longer_kept_is_gone_and_names_its_call(forgetful: Gateway) -> None:
    with forgetful.caller(forgetful.new_key()) as caller:
        first = post(caller, chat("tokens=5"), "short")
        call_id = first.headers["x-request-id"]
        wait_until(lambda: _is_gone(post(caller, chat("tokens=5"), "short"), call_id), 20, "the answer has expired")
        assert total_of(caller)["calls"] == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_is_too_large_to_keep_is_gone_at_once(forgetful: Gateway, streamed: bool) -> None:
    with forgetful.caller(forgetful.new_key()) as caller:
        body = chat("tokens=2000", stream=streamed)
        first = post(caller, body, "large")
        assert len(first.content) > 4000
        assert _is_gone(post(caller, body, "large"), first.headers["x-request-id"])


def test_a_dead_workers_key_is_free_unless_upstream_had_begun_to_answer(forgetful: Gateway) -> None:
    whole, stream = chat("tokens=5 delay_ms=8000"), chat("tokens=1000 pace_ms=20", stream=True)
    with forgetful.caller(forgetful.new_key()) as caller, ThreadPoolExecutor(1) as pool:
        lost = pool.submit(post, caller, whole, "free")
        wait_until(lambda: forgetful.in_flight() > 0, 10, "upstream has the call")
        with caller.stream("POST", "/chat/completions", json=stream, headers={"idempotency-key": "begun"}) as answer:
            call_id = answer.headers["x-request-id"]
            pieces = answer.iter_bytes()
            next(pieces)
            _kill_workers(forgetful)
            with pytest.raises(httpx.TransportError):
                b"".join(pieces)
        with pytest.raises(httpx.TransportError):
            lost.result()
        assert _is_gone(until_told(caller, stream, "begun"), call_id)
        again = until_told(caller, {**whole}, "free")
        assert again.status_code == 200
        assert "x-solar-replayed" not in again.headers
        total = wait_until(lambda: (found := total_of(caller))["calls"] and found, 10, "the call is in the ledger")
    # Both attempts are one call; what is estimated can only be the stream's orphan.
    assert (total["calls"] - total["estimated_calls"], total["output_tokens"] >= 5) == (1, True)


def test_with_hang_up_finish_a_stream_without_a_key_is_read_to_its_end_and_billed_by_upstreams_usage(
    forgetful: Gateway,
) -> None:
    label = new_label()
    with forgetful.caller(forgetful.new_key()) as caller:
        with caller.stream("POST", "/chat/completions", json=chat(f"id={label} {SLOW_STREAM}", stream=True)) as answer:
            next(answer.iter_bytes())
        (record,) = wait_until(lambda: served(forgetful, label), 30, "upstream has served it all")
        total = wait_until(lambda: (found := total_of(caller))["calls"] and found, 10, "the call is in the ledger")
    assert (record["outcome"], record["completion_tokens"]) == ("served", 60)
    assert (total["calls"], total["output_tokens"], total["estimated_calls"]) == (1, 60, 0)


def _is_gone(answer: httpx.Response, call_id: str) -> bool:
    if answer.status_code != 409 or answer.json()["error"]["code"] != "idempotency_replay_gone":
        return False
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-request-id"] == call_id
    assert call_id in answer.json()["error"]["message"]
    return True


def _kill_workers(gateway: Gateway) -> None:
    for process in psutil.Process(gateway.process.pid).children():
        if "gateway.processes.worker" in process.cmdline():
            process.send_signal(signal.SIGKILL)
