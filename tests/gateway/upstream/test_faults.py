"""Upstream's errors as a client sees them, and how long it is told to wait."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime, formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RateLimited, UpstreamUnavailable
from gateway.upstream.faults import Verdict, code_of, fault_of, looks_ill, retry_after_ms, verdict_of

NOW_S = 1_795_000_000.0
QUOTA = b'{"error":{"code":"usage_limit_exceeded","message":"x"}}'
LIMIT = b'{"error":{"code":"rate_limit_exceeded"}}'

SEEN = [
    (400, b"{}", None),
    (404, b"", None),
    (413, b"", None),
    (422, b"{}", None),
    (499, b"", None),
    (401, b'{"error":{"code":"invalid_api_key"}}', (502, "upstream_unavailable")),
    (403, b"", (502, "upstream_unavailable")),
    (429, LIMIT, (429, "rate_limit_exceeded")),
    (429, b"", (429, "rate_limit_exceeded")),
    (429, QUOTA, (503, "upstream_unavailable")),
    (500, b"", (502, "upstream_unavailable")),
    (501, b"", (502, "upstream_unavailable")),
    (502, b"", (502, "upstream_unavailable")),
    (503, b"", (503, "upstream_unavailable")),
    (504, b"", (504, "upstream_unavailable")),
    (529, b"", (502, "upstream_unavailable")),
]


@pytest.mark.parametrize(("status", "body", "seen"), SEEN)
def test_each_status_of_upstream_has_one_meaning_for_the_client(
    status: int, body: bytes, seen: tuple[int, str] | None
) -> None:
    fault = fault_of(status, body, {}, NOW_S)
    assert (None if fault is None else (fault.status, fault.code)) == seen


def test_our_own_quota_and_keys_alert_the_operator_and_nothing_else_does() -> None:
    alerting = {(status, body) for status, body, _ in SEEN if verdict_of(status, body) is Verdict.REFUSED}
    assert {status for status, _ in alerting} == {401, 403, 429}
    assert (429, QUOTA) in alerting
    assert (429, LIMIT) not in alerting


def test_our_quota_is_no_rate_limit_of_the_caller() -> None:
    assert isinstance(fault_of(429, QUOTA, {"retry-after": "9"}, NOW_S), UpstreamUnavailable)
    limited = fault_of(429, LIMIT, {"retry-after": "9"}, NOW_S)
    assert isinstance(limited, RateLimited)
    assert limited.headers == {"retry-after": "9", "retry-after-ms": "9000"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (QUOTA, "usage_limit_exceeded"),
        (b"", None),
        (b"<html>", None),
        (b'{"error":"text"}', None),
        (b'{"error":null}', None),
        (b'{"error":{"code":429}}', None),
        (b'{"error":{"code":"\xff"}}', None),
        (b'{"error":' + b"[" * 60_000, None),
        (b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}", None),
    ],
)
def test_a_code_is_found_or_there_is_none_whatever_the_body(body: bytes, code: str | None) -> None:
    assert code_of(body) == code
    assert verdict_of(401, body) is Verdict.REFUSED


def test_what_looks_ill_is_exactly_what_is_no_answer_of_the_callers_own() -> None:
    for status, body, seen in SEEN:
        assert looks_ill(status) == (seen is not None)
        assert (verdict_of(status, body) is Verdict.WELL) == (seen is None)
    assert verdict_of(503, b"") is Verdict.BROKEN
    assert verdict_of(429, LIMIT) is Verdict.QUOTA


REQUESTS, TOKENS = "x-upstage-ratelimit-retry-after-requests", "x-upstage-ratelimit-retry-after-tokens"


@pytest.mark.parametrize(
    ("headers", "wait_ms"),
    [
        ({}, 1_000),
        ({"retry-after": "7"}, 7_000),
        ({"retry-after": " 7 "}, 7_000),
        ({"retry-after": "0"}, 1_000),
        ({REQUESTS: str(int(NOW_S) + 30)}, 30_000),
        ({TOKENS: str(int(NOW_S) + 40), REQUESTS: str(int(NOW_S) + 30), "retry-after": "35"}, 40_000),
        ({REQUESTS: str(int(NOW_S) - 30)}, 1_000),
        ({REQUESTS: str(int(NOW_S) + 10**9)}, 600_000),
        ({"retry-after": "9" * 15}, 600_000),
        ({"retry-after": "9" * 5000}, 1_000),
        ({REQUESTS: "9" * 5000}, 1_000),
        ({"retry-after": "²"}, 1_000),
        ({REQUESTS: "²"}, 1_000),
        ({"retry-after": "-5"}, 1_000),
        ({"retry-after": "soon"}, 1_000),
        ({"retry-after": formatdate(NOW_S + 25, usegmt=True)}, 25_000),
        ({"retry-after": formatdate(NOW_S - 25, usegmt=True)}, 1_000),
        ({"retry-after": format_datetime(datetime.fromtimestamp(NOW_S + 25, UTC))}, 25_000),
        ({"retry-after": "Mon, 99 Foo 2026 00:00:00 GMT"}, 1_000),
        ({"retry-after": "Mon, 01 Jan 0001 00:00:00 +2359"}, 1_000),
    ],
)
def test_the_wait_is_the_latest_of_what_upstream_says_within_its_bounds(headers: dict[str, str], wait_ms: int) -> None:
    assert retry_after_ms(headers, NOW_S) == wait_ms


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_header_of_upstream_can_break_the_wait(plain: str, vendor: str) -> None:
    assert 1_000 <= retry_after_ms({"retry-after": plain, TOKENS: vendor}, NOW_S) <= 600_000
