"""Upstream's errors, told apart by status and `error.code`, never by text (upstage-api.md section 6, 2026-11-23). Pure.

Its 401 and 403 are our fault: the client sees 502, the operator an alert. A 429 `usage_limit_exceeded` is our spending cap, not a
rate limit. Other 4xx pass through as they are.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import Enum

import msgspec

from gateway.errors import GatewayError, RateLimited, UpstreamUnavailable

_RETRY_AFTER_MAX_MS = 600_000
_RETRY_AFTER_DEFAULT_MS = 1_000
_WHOLE_NUMBER = re.compile(r"[0-9]{1,15}")


class _ErrorBody(msgspec.Struct):
    code: str | None = None


class _Envelope(msgspec.Struct):
    error: _ErrorBody | None = None


def code_of(body: bytes) -> str | None:
    """`error.code` of an error body; None where there is none (some errors have no body at all)."""
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return envelope.error.code if envelope.error else None


def fault_of(status: int, body: bytes, headers: Mapping[str, str], now_s: float | None = None) -> GatewayError | None:
    """The error that a client sees for an upstream status that is not 2xx; None where upstream's own answer passes through."""
    if status in (401, 403):
        return UpstreamUnavailable("The gateway's own access to the model was refused. The operator has been told.")
    if status == 429:
        if code_of(body) == "usage_limit_exceeded":
            return UpstreamUnavailable(
                "The gateway's own quota with the model is used up. The operator has been told.", status=503
            )
        wait_ms = retry_after_ms(headers, time.time() if now_s is None else now_s)
        return RateLimited("the gateway's quota with the model", wait_ms, {})
    if status < 400:
        return UpstreamUnavailable("The model sent us somewhere else. Redirects are not followed.")
    if status >= 500:
        return UpstreamUnavailable("The model failed to answer.", status=status if status in (502, 503, 504) else 502)
    return None


class Verdict(Enum):
    """What a status says of the key that was asked."""

    WELL = "it answers, be it with a refusal that is the caller's own"
    QUOTA = "it has no room for now"
    REFUSED = "it needs a human: 401, 403, or its spending cap"
    BROKEN = "what stands behind it fails"


def looks_ill(status: int) -> bool:
    """Must the body be looked at before anyone can say what this status means?"""
    return status >= 500 or status in (401, 403, 429)


def verdict_of(status: int, body: bytes) -> Verdict:
    """Told apart by status and code, as the client's errors are."""
    if not looks_ill(status):
        return Verdict.WELL
    if status >= 500:
        return Verdict.BROKEN
    if status == 429 and code_of(body) != "usage_limit_exceeded":
        return Verdict.QUOTA
    return Verdict.REFUSED


def may_be_billed(status: int) -> bool:
    """A proxy in front of a model that gave up waiting for it: the model may have gone on, and been paid for it (traps.md 56)."""
    return status in (502, 504)


def retry_after_ms(headers: Mapping[str, str], now_s: float) -> int:
    """The latest of the vendor's Unix times and the plain `Retry-After` (seconds or a date), bounded."""
    waits = [_RETRY_AFTER_DEFAULT_MS]
    for what in ("requests", "tokens"):
        vendor = headers.get(f"x-upstage-ratelimit-retry-after-{what}", "")
        if _WHOLE_NUMBER.fullmatch(vendor):
            waits.append(int((int(vendor) - now_s) * 1000))
    plain = headers.get("retry-after", "").strip()
    if _WHOLE_NUMBER.fullmatch(plain):
        waits.append(int(plain) * 1000)
    elif plain:
        try:
            waits.append(int((parsedate_to_datetime(plain).timestamp() - now_s) * 1000))
        except (ValueError, OverflowError):
            waits.append(_RETRY_AFTER_DEFAULT_MS)
    return min(max(waits), _RETRY_AFTER_MAX_MS)
