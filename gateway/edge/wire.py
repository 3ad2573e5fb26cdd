"""Errors and small values as they stand on the wire (design.md section 3). Pure.

Errors are OpenAI-shaped: `{"error": {"message", "type", "param", "code"}}`. Money is a decimal string.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation

import msgspec

from billing.money import CAP_USD_MAX
from gateway.errors import GatewayError, InvalidRequest, Unprocessable


def to_wire_error(error: GatewayError, wire: str = "openai") -> bytes:
    """An error in a wire format's own shape: `openai`, `responses` (the same), or `anthropic` (with our code beside)."""
    if wire == "anthropic":
        inner = {"type": _ANTHROPIC_TYPES.get(error.status, "api_error"), "message": error.message, "code": error.code}
        return msgspec.json.encode({"type": "error", "error": inner})
    body = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    return msgspec.json.encode({"error": body})


def to_wire_error_event(error: GatewayError, wire: str = "openai") -> bytes:
    """An error in mid-stream: an event, after which the stream ends without [DONE]."""
    if wire == "responses":
        body = {"type": "error", "code": error.code, "message": error.message, "param": error.param}
        return b"event: error\ndata: " + msgspec.json.encode(body) + b"\n\n"
    name = b"event: error\n" if wire == "anthropic" else b""
    return name + b"data: " + to_wire_error(error, wire) + b"\n\n"


_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "invalid_request_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
"""Anthropic's error types by status (docs.anthropic.com, "Errors", read 2026-11)."""


def from_wire_head(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str, bytes | None]:
    """(gateway key, content type, Idempotency-Key) of a request: JSON where it does not say, None where it has no such key."""
    fields = dict(headers)
    return (
        _secret_in(fields),
        fields.get(b"content-type", b"application/json").decode("latin-1"),
        fields.get(b"idempotency-key"),
    )


def secret_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The gateway key of a request: `Authorization: Bearer …`, or `x-api-key`; empty where there is none."""
    return _secret_in(dict(headers))


def _secret_in(fields: Mapping[bytes, bytes]) -> str:
    bearer = fields.get(b"authorization", b"")
    if bearer[:7].lower() == b"bearer ":
        return bearer[7:].strip().decode("latin-1")
    return fields.get(b"x-api-key", b"").strip().decode("latin-1")


def to_wire_instant(instant: datetime | None) -> str | None:
    """RFC 3339 in UTC, such as `2026-10-31T15:00:00Z`."""
    return None if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


YEAR_MIN, YEAR_MAX = 1970, 9000
"""Instants and days that are taken: beyond these, zones and months run out of the calendar that Python and Postgres share."""

_AMOUNT_MAX, _NO_BOUND = Decimal(10) ** 24, Decimal("Infinity")


def from_wire_instant(instant: datetime, field: str) -> datetime:
    """An instant with its zone, within the calendar."""
    if instant.tzinfo is None:
        raise InvalidRequest(f"{field}: needs a zone, such as 2026-12-31T00:00:00Z.", param=field)
    if not YEAR_MIN <= instant.year <= YEAR_MAX:
        raise InvalidRequest(f"{field}: must lie in the years {YEAR_MIN} to {YEAR_MAX}.", param=field)
    return instant


def from_wire_day(text: str, field: str) -> date:
    """A day such as `2026-10-31`, within the calendar."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"{field}: must be a day such as 2026-10-31.", param=field) from None
    if not YEAR_MIN <= day.year <= YEAR_MAX:
        raise InvalidRequest(f"{field}: must lie in the years {YEAR_MIN} to {YEAR_MAX}.", param=field)
    return day


def from_wire_amount(text: str, field: str, highest: Decimal = _AMOUNT_MAX) -> Decimal:
    """A decimal string from 0 to 10^24 (or another bound) with at most 12 places."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= highest or -int(amount.as_tuple().exponent) > 12:
        bound = f"from 0 to {highest:f}" if highest.is_finite() else "from 0 on"
        raise InvalidRequest(
            f'{field}: must be a decimal string such as "10.00", {bound}, at most 12 places.', param=field
        )
    return amount


def from_wire_cap(text: str | None, field: str, usd_per_unit: Decimal | None) -> Decimal | None:
    """A cap in a currency of which one unit is worth so many USD (None where no rate is known yet: such a cap lets nothing pass).

    Above 9,000,000 USD the counters could not hold it (design.md section 5.3).
    """
    if text is None:
        return None
    cap = from_wire_amount(text, field, _AMOUNT_MAX if usd_per_unit is None else _NO_BOUND)
    if usd_per_unit is not None and cap > CAP_USD_MAX / usd_per_unit:
        highest = f"{CAP_USD_MAX} USD" if usd_per_unit == 1 else f"{CAP_USD_MAX} USD at this month's rate"
        raise Unprocessable("cap_too_large", f"{field}: a cap can be at most {highest}; leave it out for none.")
    return cap
