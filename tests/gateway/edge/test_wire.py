"""Errors and amounts as they stand on the wire."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.edge.wire import (
    from_wire_amount,
    from_wire_cap,
    from_wire_day,
    from_wire_instant,
    secret_of,
    to_wire_error,
    to_wire_error_event,
    to_wire_instant,
)
from gateway.errors import GatewayError, InvalidRequest, Unprocessable

REFUSALS: list[tuple[GatewayError, int, str]] = [
    (errors.InvalidApiKey(), 401, "invalid_api_key"),
    (errors.KeyNotAllowed("x"), 403, "key_not_allowed"),
    (errors.AccountSuspended(), 403, "account_suspended"),
    (errors.ModelNotFound("m" * 500), 404, "model_not_found"),
    (errors.RequestTooLarge(5), 413, "request_too_large"),
    (errors.IdempotencyInProgress("id", 1), 409, "idempotency_in_progress"),
    (errors.IdempotencyReplayGone("id"), 409, "idempotency_replay_gone"),
    (errors.IdempotencyMismatch(), 422, "idempotency_mismatch"),
    (errors.RateLimited("x", 1500, {}), 429, "rate_limit_exceeded"),
    (errors.RateLimited("x", 1500, {}, concurrency=True), 429, "concurrency_limit_exceeded"),
    (errors.BudgetExceeded("x"), 402, "budget_exceeded"),
    (errors.InsufficientQuota("x"), 402, "insufficient_quota"),
    (errors.UpstreamUnavailable("x", status=504), 504, "upstream_unavailable"),
    (errors.UpstreamInterrupted(), 502, "upstream_interrupted"),
    (errors.ServiceUnavailable(), 503, "service_unavailable"),
    (errors.BacklogFull(), 503, "usage_backlog_full"),
]


@pytest.mark.parametrize(("error", "status", "code"), REFUSALS)
def test_an_error_has_the_contracts_shape_and_code(error: GatewayError, status: int, code: str) -> None:
    assert (error.status, error.code) == (status, code)
    body = json.loads(to_wire_error(error))
    assert list(body) == ["error"]
    assert list(body["error"]) == ["message", "type", "param", "code"]
    assert body["error"]["code"] == code
    assert len(body["error"]["message"]) < 400


@given(st.text())
def test_an_error_event_is_one_event_whatever_its_message(message: str) -> None:
    error = GatewayError(message.encode("utf-8", "ignore").decode())
    event = to_wire_error_event(error)
    assert event.startswith(b"data: {")
    assert event.endswith(b"\n\n")
    assert event.count(b"\n") == 2
    assert json.loads(event[6:])["error"]["message"] == error.message


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ([(b"authorization", b"Bearer sk-solar-a")], "sk-solar-a"),
        ([(b"authorization", b"bearer   sk-solar-a ")], "sk-solar-a"),
        ([(b"x-api-key", b" sk-solar-a ")], "sk-solar-a"),
        ([(b"x-api-key", b"sk-solar-a"), (b"authorization", b"Bearer sk-solar-b")], "sk-solar-b"),
        ([(b"authorization", b"Basic abc"), (b"x-api-key", b"sk-solar-a")], "sk-solar-a"),
        ([(b"authorization", b"sk-solar-a")], ""),
        ([(b"authorization", b"Bearer \xff\xfe")], "\xff\xfe"),
        ([], ""),
    ],
)
def test_the_key_is_found_where_either_kind_of_client_puts_it(headers: list[tuple[bytes, bytes]], secret: str) -> None:
    assert secret_of(headers) == secret


@pytest.mark.parametrize("text", ["0", "10", "10.00", "0.000000000001", "9000000", "12345678901234567890.5"])
def test_an_amount_comes_in_exactly(text: str) -> None:
    assert from_wire_amount(text, "x") == Decimal(text)


@pytest.mark.parametrize(
    "text", ["", "ten", "-1", "-0.01", "NaN", "sNaN", "Infinity", "-Infinity", "0.0000000000001", "1,5"]
)
def test_what_is_no_amount_is_refused_and_the_field_is_named(text: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        from_wire_amount(text, "monthly_cap")
    assert error.value.param == "monthly_cap"


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 1, 1),  # noqa: DTZ001 - no zone is what is refused
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14))),
        datetime(1969, 12, 31, tzinfo=UTC),
    ],
)
def test_an_instant_without_a_zone_or_at_the_ends_of_the_calendar_is_refused(instant: datetime) -> None:
    with pytest.raises(InvalidRequest) as error:
        from_wire_instant(instant, "expires_at")
    assert error.value.param == "expires_at"
    within = datetime(9000, 12, 31, tzinfo=UTC)
    assert from_wire_instant(within, "expires_at") == within


@pytest.mark.parametrize(
    "text", ["", "2026-13-01", "2026-02-30", "0001-01-01", "9999-12-31", "today", "2026-10-31T00:00"]
)
def test_a_day_is_a_day_of_the_calendar(text: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        from_wire_day(text, "date")
    assert error.value.param == "date"
    assert from_wire_day("2026-10-31", "date").isoformat() == "2026-10-31"


def test_a_cap_above_what_redis_can_count_is_422() -> None:
    assert from_wire_cap("9000000", "monthly_cap", Decimal(1)) == 9_000_000
    assert from_wire_cap(None, "monthly_cap", Decimal(1)) is None
    for text in ("9000000.000000000001", "9000001", "1E+30"):
        with pytest.raises(Unprocessable) as error:
            from_wire_cap(text, "monthly_cap", Decimal(1))
        assert (error.value.status, error.value.code) == (422, "cap_too_large")


def test_an_instant_is_rfc_3339_in_utc() -> None:
    seoul = timezone(timedelta(hours=9))
    assert to_wire_instant(datetime(2026, 11, 1, 0, 0, tzinfo=seoul)) == "2026-10-31T15:00:00Z"
    assert to_wire_instant(datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)) == "2026-01-02T03:04:05.600000Z"
    assert to_wire_instant(None) is None


def test_a_cap_in_won_is_measured_by_its_worth_in_dollars_and_taken_as_it_is_where_no_rate_is_known() -> None:
    worth = 1 / Decimal(1350)
    assert from_wire_cap("12000000000", "monthly_cap", worth) == 12_000_000_000
    for text in ("12150000001", "1" + "0" * 40):
        with pytest.raises(Unprocessable) as error:
            from_wire_cap(text, "monthly_cap", worth)
        assert (error.value.status, error.value.code) == (422, "cap_too_large")
    assert from_wire_cap("12150000001", "monthly_cap", None) == 12_150_000_001
