"""What is tried again, when, and under which key."""

import time
from datetime import UTC, datetime, timedelta

import pytest

import solar_sdk
from solar_sdk import AsyncSolar, Solar
from solar_sdk.core import retry
from solar_sdk.core.faults import from_wire_refusal, retry_after_s

from .answers import TALE, completion
from .conftest import KEY
from .true_server import Act, Fault, TrueServer, error, stream, whole

SOON = {"retry-after-ms": "1"}
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def short_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry._jitter, "multiplier", 0.001)


@pytest.mark.parametrize(
    "failure",
    [
        error(408, "timeout"),
        error(409, "idempotency_in_progress", SOON),
        error(429, "rate_limit_exceeded", SOON),
        error(500, "x"),
        error(502, "upstream_unavailable"),
        whole(b"<html>bad gateway</html>", 504),
        error(400, "x", {"x-should-retry": "true"}),
    ],
    ids=lambda act: repr(act.moves[0])[:32],
)
def test_a_passing_failure_is_tried_again_under_the_same_key(server: TrueServer, client: Solar, failure: Act) -> None:
    server.play(failure, failure, whole(completion()))
    assert str(client.chat("?")) == "안녕하세요!"
    keys = {request.headers["idempotency-key"] for request in server.requests}
    assert (len(server.requests), len(keys)) == (3, 1)


LOST_ANSWERS = [
    Act((Fault.RESET,)),
    Act((Fault.CUT,)),
    Act((b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", Fault.CUT)),
]


@pytest.mark.parametrize("loss", LOST_ANSWERS, ids=["reset", "cut", "half"])
def test_a_call_whose_answer_was_lost_is_asked_for_again_under_the_same_key(
    server: TrueServer, client: Solar, loss: Act
) -> None:
    server.play(loss, whole(completion()))
    assert str(client.chat("?")) == "안녕하세요!"
    assert len(server.requests) == 2
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 1


def test_a_call_that_the_gateway_could_not_remember_is_not_sent_again(server: TrueServer, client: Solar) -> None:
    head = b"HTTP/1.1 200 OK\r\nx-solar-idempotency: off\r\ncontent-length: 100\r\n\r\n{"
    server.play(Act((head, Fault.CUT)), whole(completion()))
    with pytest.raises(solar_sdk.TransportError):
        client.chat("?")
    assert len(server.requests) == 1


def test_a_call_that_still_runs_is_asked_for_beyond_the_number_of_retries(server: TrueServer) -> None:
    running = error(409, "idempotency_in_progress", SOON)
    server.play(Act((Fault.CUT,)), *[running] * 6, whole(completion()))
    with Solar(KEY, server.base_url, max_retries=1) as client:
        assert str(client.chat("?")) == "안녕하세요!"
    server.play(running)
    with Solar(KEY, server.base_url, max_retries=0) as client, pytest.raises(solar_sdk.IdempotencyConflictError):
        client.chat("?")


@pytest.mark.parametrize("loss", LOST_ANSWERS, ids=["reset", "cut", "half"])
def test_reading_costs_nothing_and_is_tried_again(server: TrueServer, client: Solar, loss: Act) -> None:
    server.play(loss, loss, whole({"object": "list", "data": []}))
    assert len(client.models()) == 0
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "refusal",
    [
        error(400, "invalid_request_body"),
        error(401, "invalid_api_key"),
        error(402, "budget_exceeded"),
        error(409, "idempotency_replay_gone"),
        error(422, "idempotency_mismatch"),
        error(429, "usage_limit_exceeded"),
        error(502, "upstream_interrupted", {"x-should-retry": "false"}),
    ],
    ids=lambda act: repr(act.moves[0])[11:14],
)
def test_what_would_be_refused_or_paid_again_is_not_sent_again(server: TrueServer, client: Solar, refusal: Act) -> None:
    server.play(refusal)
    with pytest.raises(solar_sdk.SolarError):
        client.chat("?")
    assert len(server.requests) == 1


async def test_the_async_client_retries_under_the_same_key(server: TrueServer, async_client: AsyncSolar) -> None:
    server.play(error(503, "upstream_unavailable"), error(500, "x"), whole(completion()))
    assert str(await async_client.chat("?")) == "안녕하세요!"
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 1


def test_two_calls_have_two_keys_and_a_key_of_ones_own_is_kept(server: TrueServer, client: Solar) -> None:
    server.play(*[whole(completion())] * 3)
    client.chat("?")
    client.chat("?")
    client.chat("?", idempotency_key="order-7")
    first, second, own = (request.headers["idempotency-key"] for request in server.requests)
    assert first != second
    assert own == "order-7"


def test_retries_end_at_their_number_with_the_last_error(server: TrueServer) -> None:
    server.play(*[error(503, "upstream_unavailable")] * 2)
    with Solar(KEY, server.base_url, max_retries=1) as client, pytest.raises(solar_sdk.UpstreamError):
        client.chat("?")
    assert len(server.requests) == 2


def test_the_wait_the_server_names_is_kept(server: TrueServer, client: Solar) -> None:
    server.play(error(429, "rate_limit_exceeded", {"retry-after-ms": "300", "retry-after": "9"}), whole(completion()))
    began_s = time.monotonic()
    client.chat("?")
    assert 0.3 <= time.monotonic() - began_s < 5


def test_a_wait_beyond_the_deadline_is_not_begun(server: TrueServer, client: Solar) -> None:
    server.play(error(429, "rate_limit_exceeded", {"retry-after": "3600"}))
    with pytest.raises(solar_sdk.RateLimitError) as caught:
        client.chat("?")
    assert (caught.value.retry_after_s, len(server.requests)) == (3600, 1)


def test_a_stream_is_begun_again_only_while_nothing_of_it_was_handed_out(server: TrueServer, client: Solar) -> None:
    server.play(error(503, "x"), error(500, "x"), stream(TALE[:2], Fault.CUT))
    with Solar(KEY, server.base_url, max_retries=3) as patient:
        pieces = patient.chat("?", stream=True)
    assert len(server.requests) == 3
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 1
    with pytest.raises(solar_sdk.StreamInterruptedError):
        list(pieces)
    assert len(server.requests) == 3


def test_a_refused_connection_is_a_transport_error() -> None:
    with TrueServer() as server:
        address = server.base_url
    refused = pytest.raises(solar_sdk.TransportError, match=r"No connection to http://127\.0\.0\.1")
    with Solar(KEY, address, max_retries=1) as client, refused as caught:
        client.chat("?")
    assert (caught.value.code, caught.value.status) == ("connection_failed", None)


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "1.5", "retry-after-ms": "20"}, 0.02),
        ({"retry-after": "Tue, 24 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Tue, 24 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "inf"}, None),
        ({"retry-after": "soon"}, None),
    ],
)
def test_a_wait_is_read_in_milliseconds_in_seconds_or_as_a_date(
    headers: dict[str, str], expected_s: float | None
) -> None:
    assert retry_after_s(headers, NOW) == expected_s


def test_a_date_in_another_zone_is_the_same_instant() -> None:
    later = (NOW + timedelta(seconds=10)).strftime("%a, %d %b %Y %H:%M:%S +0000")
    assert retry_after_s({"retry-after": later}, NOW) == 10.0


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_request_body", solar_sdk.InvalidRequestError),
        (401, "invalid_api_key", solar_sdk.AuthenticationError),
        (402, "insufficient_quota", solar_sdk.BudgetExceededError),
        (403, "account_suspended", solar_sdk.PermissionDeniedError),
        (404, "model_not_found", solar_sdk.NotFoundError),
        (408, "x", solar_sdk.ServerError),
        (409, "idempotency_replay_gone", solar_sdk.IdempotencyConflictError),
        (413, "request_too_large", solar_sdk.RequestTooLargeError),
        (422, "idempotency_mismatch", solar_sdk.IdempotencyConflictError),
        (422, "x", solar_sdk.InvalidRequestError),
        (429, "concurrency_limit_exceeded", solar_sdk.RateLimitError),
        (500, "x", solar_sdk.ServerError),
        (502, "upstream_unavailable", solar_sdk.UpstreamError),
        (503, "upstream_unavailable", solar_sdk.UpstreamError),
        (504, "upstream_unavailable", solar_sdk.UpstreamError),
        (307, "x", solar_sdk.MalformedAnswerError),
    ],
)
def test_each_refusal_has_its_class_code_status_and_call_id(
    status: int, code: str, kind: type[solar_sdk.SolarError]
) -> None:
    body = f'{{"error": {{"message": "why", "code": "{code}"}}}}'.encode()
    refusal = from_wire_refusal(status, {"x-request-id": "id-1"}, body, NOW)
    assert type(refusal) is kind
    assert (refusal.code, refusal.status, refusal.call_id) == (code, status, "id-1")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"text"', b'{"error": null}', b'{"error": {"message": 5}}'])
def test_a_body_of_any_kind_becomes_an_error_with_its_status(body: bytes) -> None:
    refusal = from_wire_refusal(502, {}, body, NOW)
    assert (type(refusal), refusal.status) == (solar_sdk.UpstreamError, 502)
    assert "502" in str(refusal)
