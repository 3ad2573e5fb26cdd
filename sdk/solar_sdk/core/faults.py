"""From a refused answer to the error of the tree, and whether the same request may be sent once more.

Codes and statuses: the gateway's contract (design.md section 3, read 2026-11-24). Headers: `retry-after-ms`,
`retry-after` (seconds or an HTTP date) and `x-should-retry`, as the OpenAI SDKs read them (2026).
Units: seconds, except where a name ends in `_ms`. Raises nothing: it returns errors.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ..errors import (
    AuthenticationError,
    BudgetExceededError,
    IdempotencyConflictError,
    InvalidRequestError,
    MalformedAnswerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    ServerError,
    SolarError,
    StreamInterruptedError,
    UpstreamError,
)

BUDGET_CODES = frozenset({"budget_exceeded", "insufficient_quota"})
SPENT_CODES = BUDGET_CODES | {"usage_limit_exceeded"}  # a 429 with one of these does not pass by waiting
MESSAGE_CHARACTERS_MAX = 2_000

_BY_STATUS: dict[int, type[SolarError]] = {
    401: AuthenticationError,
    402: BudgetExceededError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: ServerError,
    409: IdempotencyConflictError,
    413: RequestTooLargeError,
    429: RateLimitError,
    502: UpstreamError,
    503: UpstreamError,
    504: UpstreamError,
}


def from_wire_refusal(status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> SolarError:
    """The error of an answer that is not 2xx."""
    message, code = _said(body)
    if 300 <= status < 400:
        kind: type[SolarError] = MalformedAnswerError
        message = "The address answers with a redirect, which is not followed: check the base URL."
    elif status == 422 and code == "idempotency_mismatch":
        kind = IdempotencyConflictError
    else:
        kind = _BY_STATUS.get(status, ServerError if status >= 500 else InvalidRequestError)
    return kind(
        message or f"The gateway answered {status} and gave no reason.",
        code=code,
        status=status,
        call_id=headers.get("x-request-id"),
        retry_after_s=retry_after_s(headers, now),
        retryable=_may_retry(status, code, headers.get("x-should-retry")),
    )


def from_wire_stream_error(error: object, call_id: str | None) -> SolarError:
    """The error that an event in mid-stream tells. Never retried: pieces may have been handed out."""
    message, code = _read_error(error)
    kind = BudgetExceededError if code in BUDGET_CODES else StreamInterruptedError
    return kind(message or "The stream was ended by an error.", code=code, call_id=call_id)


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """The wait the server asked for, or None; never negative."""
    wait_ms = _number(headers.get("retry-after-ms"))
    if wait_ms is not None:
        return max(wait_ms / 1000, 0.0)
    value = headers.get("retry-after")
    wait_s = _number(value)
    if wait_s is None and value:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        wait_s = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
    return None if wait_s is None else max(wait_s, 0.0)


def _may_retry(status: int, code: str | None, server_says: str | None) -> bool:
    if server_says in ("true", "false"):
        return server_says == "true"
    if status == 409:
        return code == "idempotency_in_progress"
    return (status in (408, 429) and code not in SPENT_CODES) or status >= 500


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _said(body: bytes) -> tuple[str, str | None]:
    """Message and code of an error body; a body that is not JSON (a proxy's page) says nothing we would repeat."""
    try:
        decoded: Any = json.loads(body)
    except ValueError:
        return "", None
    return _read_error(decoded.get("error", decoded)) if isinstance(decoded, dict) else ("", None)


def _read_error(error: object) -> tuple[str, str | None]:
    if isinstance(error, str):
        return error[:MESSAGE_CHARACTERS_MAX], None
    if not isinstance(error, dict):
        return "", None
    message, code = error.get("message"), error.get("code") or error.get("type")
    return (
        message[:MESSAGE_CHARACTERS_MAX] if isinstance(message, str) else "",
        code if isinstance(code, str) else None,
    )
